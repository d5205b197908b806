//! Which kernel modules need which: read from the `.modinfo` section of the files, as depmod does.
//!
//! Debian's package holds no modules.dep (its installation script makes it), so we look ourselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use elf::ElfBytes;
use elf::endian::LittleEndian;

use crate::error::{Error, Result};

/// A module on its way into an initramfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Its `.ko` file.
    pub path: PathBuf,
}

/// Returns the wanted modules and all that they depend on, in an order that `insmod` can follow.
///
/// What is built into the kernel needs no loading, and is left out.
///
/// # Errors
/// A module is neither below `dir` nor built in, or its file is damaged.
pub fn load_order(dir: &Path, wanted: &[String]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(dir, &mut files)?;
    let list = dir.join("modules.builtin");
    let built_in = built_in(&fs::read_to_string(&list).map_err(Error::io("read", &list))?);
    let wanted: Vec<String> = wanted.iter().map(|name| canonical(name)).collect();
    let loadable: Vec<String> = wanted
        .into_iter()
        .filter(|name| !built_in.contains(name))
        .collect();
    order(&loadable, |name| {
        let path = files.get(name).ok_or_else(|| {
            Error::new(format!(
                "there is no kernel module {name} in {}",
                dir.display()
            ))
        })?;
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let depends = depends(&bytes).map_err(|e| e.because(path.display()))?;
        Ok((path.clone(), depends))
    })
}

/// Depth first: what a module depends on stands before it. The answer depends on nothing but the question.
fn order(
    wanted: &[String],
    look_up: impl Fn(&str) -> Result<(PathBuf, Vec<String>)>,
) -> Result<Vec<Module>> {
    fn visit(
        name: &str,
        look_up: &impl Fn(&str) -> Result<(PathBuf, Vec<String>)>,
        done: &mut Vec<Module>,
        open: &mut Vec<String>,
    ) -> Result<()> {
        if done.iter().any(|m| m.name == name) {
            return Ok(());
        }
        if open.iter().any(|o| o == name) {
            return Err(Error::new(format!(
                "kernel modules depend on each other: {open:?}"
            )));
        }
        open.push(name.to_owned());
        let (path, depends) = look_up(name)?;
        for dependency in depends {
            visit(&dependency, look_up, done, open)?;
        }
        open.pop();
        done.push(Module {
            name: name.to_owned(),
            path,
        });
        Ok(())
    }
    let mut done = Vec::new();
    for name in wanted {
        visit(&canonical(name), &look_up, &mut done, &mut Vec::new())?;
    }
    Ok(done)
}

fn index(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))?.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            index(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "ko") {
            let stem = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            files.insert(canonical(&stem), path);
        }
    }
    Ok(())
}

/// The names in a `modules.builtin`: a path per line, such as `kernel/fs/ext4/ext4.ko`.
fn built_in(list: &str) -> BTreeSet<String> {
    let stems = list.lines().filter_map(|line| Path::new(line).file_stem());
    stems.map(|s| canonical(&s.to_string_lossy())).collect()
}

/// File names may have dashes where the kernel says underscores.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// The `depends=` entry of a module's `.modinfo`.
fn depends(module: &[u8]) -> Result<Vec<String>> {
    let damaged = |e: elf::ParseError| Error::new(format!("damaged kernel module: {e}"));
    let elf = ElfBytes::<LittleEndian>::minimal_parse(module).map_err(damaged)?;
    let section = elf.section_header_by_name(".modinfo").map_err(damaged)?;
    let section = section.ok_or_else(|| Error::new("kernel module without .modinfo"))?;
    let (info, _) = elf.section_data(&section).map_err(damaged)?;
    Ok(depends_of(info))
}

fn depends_of(modinfo: &[u8]) -> Vec<String> {
    let entries = modinfo
        .split(|&b| b == 0)
        .filter_map(|e| std::str::from_utf8(e).ok());
    entries
        .filter_map(|e| e.strip_prefix("depends="))
        .flat_map(|list| list.split(','))
        .filter(|name| !name.is_empty())
        .map(canonical)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(name: &str) -> Result<(PathBuf, Vec<String>)> {
        let depends: &[&str] = match name {
            "virtio_blk" => &["virtio", "virtio_ring"],
            "virtio_ring" => &["virtio"],
            "virtio" => &[],
            "a" => &["b"],
            "b" => &["a"],
            _ => return Err(Error::new("missing")),
        };
        Ok((
            PathBuf::from(name),
            depends.iter().map(|&d| d.to_owned()).collect(),
        ))
    }

    fn names(wanted: &[&str]) -> Result<Vec<String>> {
        let wanted: Vec<String> = wanted.iter().map(|&w| w.to_owned()).collect();
        Ok(order(&wanted, look_up)?
            .into_iter()
            .map(|m| m.name)
            .collect())
    }

    #[test]
    fn dependencies_stand_before_their_users_and_once() {
        let found = names(&["virtio-blk", "virtio_ring"]).unwrap();
        assert_eq!(found, ["virtio", "virtio_ring", "virtio_blk"]);
    }

    #[test]
    fn a_cycle_and_a_missing_module_are_errors() {
        assert!(names(&["a"]).unwrap_err().what.contains("each other"));
        assert!(names(&["nonsense"]).is_err());
    }

    #[test]
    fn what_is_built_in_needs_no_loading() {
        let dir = std::env::temp_dir().join(format!("rexen-kmod-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let list = "kernel/drivers/xen/xenfs/xenfs.ko\nkernel/drivers/xen/xen-evtchn.ko\n";
        fs::write(dir.join("modules.builtin"), list).unwrap();
        let wanted = |name: &str| load_order(&dir, &[name.to_owned()]);
        assert_eq!(wanted("xenfs").unwrap(), []);
        assert_eq!(wanted("xen_evtchn").unwrap(), []);
        assert!(wanted("loop").unwrap_err().what.contains("loop"));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn modinfo_lists_what_a_module_needs() {
        let info = b"license=GPL\0depends=virtio,virtio-ring\0name=virtio_blk\0";
        assert_eq!(depends_of(info), ["virtio", "virtio_ring"]);
        assert!(depends_of(b"depends=\0license=GPL\0").is_empty());
    }
}
