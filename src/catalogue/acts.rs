//! What operators do: each act is one transaction that also journals who, when and what came of it.
