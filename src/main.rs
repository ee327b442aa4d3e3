//! The front door. Everything is in the library, so that tests reach it.

fn main() -> std::process::ExitCode {
    soxsd::cli::main()
}
