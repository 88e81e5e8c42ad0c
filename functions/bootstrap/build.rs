//! Options of the linker, and what lets the program run with the glibc of Amazon Linux 2023.
//!
//! Only what concerns this program: an option that dependencies are compiled with would compile Lance
//! anew. What was tried is in `CONTRIBUTING.md`.

use std::env;

/// Functions that got a new version in glibc 2.35, which differs from the old one in errors that
/// Rust does not look at.
const OLDER_VERSIONS: [&str; 2] = ["hypot", "hypotf"];

#[expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to a build script by variables"
)]
fn told(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn target(what: &str) -> String {
    told(&format!("CARGO_CFG_TARGET_{what}"))
}

/// What makes the released program smaller, as `scripts/package` asks for it: the first orders functions
/// so that similar ones lie together, which is what compression needs, and takes a minute; equal
/// functions are folded; strings are merged by their ends.
const SMALLER: [&str; 3] = ["--bp-compression-sort=both", "--icf=all", "-O2"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LANCE_BACKFILL_SMALLER");
    println!("cargo::rerun-if-changed=older_glibc.c");
    let is_of_lambda =
        target("ARCH") == "x86_64" && target("OS") == "linux" && target("ENV") == "gnu";
    if !is_of_lambda {
        return;
    }
    cc::Build::new()
        .file("older_glibc.c")
        .cargo_metadata(false)
        .compile("older_glibc");
    // Whole: some linkers look into an archive only once, and Rust's own library comes later.
    let out = told("OUT_DIR");
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static:+whole-archive=older_glibc");
    for function in OLDER_VERSIONS {
        println!("cargo::rustc-link-arg-bins=-Wl,--wrap={function}");
    }
    // These are options of LLD, which is the linker of this toolchain unless somebody says otherwise.
    if told("LANCE_BACKFILL_SMALLER") == "1" {
        for option in SMALLER {
            println!("cargo::rustc-link-arg-bins=-Wl,{option}");
        }
    }
}
