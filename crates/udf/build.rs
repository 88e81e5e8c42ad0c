//! Lists the files of the Python package, so that the binary carries them: see `src/python/package.rs`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[expect(
    clippy::disallowed_methods,
    reason = "this is how cargo speaks to a build script"
)]
fn main() -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/src/lance_backfill");
    let package = package.canonicalize()?;
    println!("cargo::rerun-if-changed={}", package.display());
    let mut files = vec![];
    collect(&package, &mut files)?;
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(&package).unwrap_or(&file).display();
        let path = file.display();
        list += &format!(
            "    ({:?}, include_bytes!({:?})),\n",
            format!("{name}"),
            format!("{path}")
        );
    }
    list += "]\n";
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("package.rs"), list)
}

/// All source files below a folder.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("__pycache__") {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| ["py", "txt", "typed"].iter().any(|kind| extension == *kind))
        {
            files.push(path);
        }
    }
    Ok(())
}
