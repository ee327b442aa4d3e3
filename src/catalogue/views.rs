//! What people and programs look at: tables with filters, counts, and the stories behind them.
