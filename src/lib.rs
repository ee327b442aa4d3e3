//! soxsd: unattended reduction, archive delivery and bookkeeping for SOXS at the ESO NTT.
//!
//! The folder tree is the path of a frame. Read it from the top:
//!
//! ```text
//!  raw FITS lands
//!       |
//!    ingest       a file is watched until it is complete, then becomes a frame or a quarantine with a reason
//!       |
//!    catalogue    SQLite: the only memory. Everything else can be killed
//!       |
//!    association  frames become sets; sets find their master calibrations, and why
//!       |
//!    scheduler    job states, priorities, memory and disk budget, retries
//!       |
//!    recipes      pure functions from typed inputs to products and QC
//!       |   \
//!       |     reduction   the algorithms recipes are written in
//!       |        \
//!       |          numerics   statistics, stacking, transforms: no FITS, no astronomy
//!       |
//!    products     names, headers, provenance; what a product is on disk
//!       |
//!    delivery     outbox -> archives and health monitors, confirmed by their own record
//!       |
//!    service      the API, the status page, metrics
//! ```
//!
//! `instrument` (what SOXS is), `fits` (reading and writing files), `quality` (metrics, limits, verdicts), `fault`
//! (classes of error) and `config` stand beside the path and are used by many. `simulator` stands opposite: it uses
//! `instrument` and `fits`, never `recipes` or `reduction`, so that the two cannot share a mistake. `daemon` wires the
//! rooms together; `cli` is the front door.
//!
//! Architecture invariants, each held by `tests/architecture.rs`:
//! - Arrows point down. `numerics` and `reduction` know no FITS, no database, no clock and no network.
//! - A recipe never opens a path, reads a clock or sees the catalogue: the same function serves the daemon,
//!   `soxsd recipe`, the tests and the benchmarks.
//! - Only `catalogue` speaks SQL, only `fits` speaks cfitsio, only `delivery` speaks HTTP to others, only `service` serves it.
//! - Every change of state is one transaction that also writes why.

// A panic is a bug: every failure is a value with a class. Exceptions carry their proof as a comment.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo, clippy::dbg_macro))]

pub mod association;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod fault;
pub mod fits;
pub mod ingest;
pub mod instrument;
pub mod liveness;
pub mod numerics;
pub mod products;
pub mod quality;
pub mod recipes;
pub mod reduction;
pub mod scheduler;
pub mod service;
pub mod simulator;
