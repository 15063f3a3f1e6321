//! The `cl` program.

fn main() -> std::process::ExitCode {
    cl::main()
}
