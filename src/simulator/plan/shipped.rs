//! Plans that come with the program.

/// A plan that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// By which it is called.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

/// All of them; the first is the usual one.
pub const SHIPPED: [Shipped; 6] = [
    Shipped { name: "full", text: include_str!("../../../config/nights/full.toml") },
    Shipped { name: "quick", text: include_str!("../../../config/nights/quick.toml") },
    Shipped { name: "extreme", text: include_str!("../../../config/nights/extreme.toml") },
    Shipped { name: "faults", text: include_str!("../../../config/nights/faults.toml") },
    Shipped { name: "missing", text: include_str!("../../../config/nights/missing.toml") },
    Shipped { name: "demo", text: include_str!("../../../config/nights/demo.toml") },
];
