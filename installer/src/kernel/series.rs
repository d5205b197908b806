//! The patch series: read, applied without fuzz in a scratch folder, and brought into a source tree.
//!
//! Only files that differ from what the tree holds are written, so that make rebuilds what a changed series
//! changes and nothing else. The tree's own versions of the files are kept beside it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::ui;

/// One patch.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Its file name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The files it changes, makes or removes.
    pub touches: BTreeSet<PathBuf>,
}

/// Patches in the order they apply.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// The patches.
    pub patches: Vec<Patch>,
}

/// What to do with a patch that does not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is an error.
    Refuse,
    /// Say so and leave it out: the source is not the one the series was made for.
    LeaveOut,
}

impl Series {
    /// Reads `dir/series` and the patches it names.
    ///
    /// # Errors
    /// A file cannot be read, or a patch is of a kind that is not supported.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("series");
        let list = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let mut patches = Vec::new();
        for (nr, name) in names(&list) {
            let file = dir.join(name);
            let at = format!("{}, line {nr}", path.display());
            if patches.iter().any(|p: &Patch| p.name == name) {
                return Err(Error::new(format!("{at}: {name} is listed twice")));
            }
            let text = fs::read_to_string(&file)
                .map_err(|e| Error::io("read", &file)(e).remedy(format!("it is named in {at}")))?;
            let touches = touched(&text).map_err(|e| e.in_file(&file))?;
            let name = name.to_owned();
            patches.push(Patch {
                name,
                text,
                touches,
            });
        }
        Ok(Self { patches })
    }

    /// All files that the series touches.
    pub fn touches(&self) -> BTreeSet<PathBuf> {
        let all = self.patches.iter().flat_map(|p| p.touches.iter().cloned());
        all.collect()
    }

    /// The patches that touch a file.
    pub fn of_file(&self, path: &Path) -> Vec<&str> {
        let ours = self.patches.iter().filter(|p| p.touches.contains(path));
        ours.map(|p| p.name.as_str()).collect()
    }

    /// Applies the series to the files in `dir`, which holds the untouched versions of those it touches.
    /// Returns the names of the patches that were left out.
    ///
    /// # Errors
    /// A patch does not apply without fuzz: the message names file and hunk.
    pub fn apply(&self, dir: &Path, source: &str, misfit: Misfit) -> Result<Vec<String>> {
        let mut left_out = Vec::new();
        for patch in &self.patches {
            match (patch.apply(dir, source), misfit) {
                (Ok(()), _) => {}
                (Err(e), Misfit::Refuse) => return Err(e),
                (Err(e), Misfit::LeaveOut) => {
                    let why = e.cause.unwrap_or_default().replace('\n', "; ");
                    ui::note(&format!("left out: {} ({why})", e.what));
                    left_out.push(patch.name.clone());
                }
            }
        }
        Ok(left_out)
    }
}

impl Patch {
    /// Tries first, then applies: a patch that fails leaves no half of itself behind.
    fn apply(&self, dir: &Path, source: &str) -> Result<()> {
        self.run_patch(dir, source, &["--dry-run"])?;
        self.run_patch(dir, source, &[])
    }

    fn run_patch(&self, dir: &Path, source: &str, more: &[&str]) -> Result<()> {
        let command = Cmd::new("patch")
            .args(["-p1", "--fuzz=0", "--forward", "--batch", "--reject-file=-"])
            .arg("--no-backup-if-mismatch")
            .args(more)
            .env("LC_ALL", "C")
            .dir(dir);
        let mut child = command
            .to_std()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Error::new("cannot start patch").because(e))?;
        if let Some(mut input) = child.stdin.take() {
            // `patch` may stop reading early; its exit status says why.
            let _ = input.write_all(self.text.as_bytes());
        }
        let out = child
            .wait_with_output()
            .map_err(|e| Error::new("cannot run patch").because(e))?;
        if out.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        let mut places = misfits(&said);
        if places.is_empty() {
            places.push(said.trim().to_owned());
        }
        Err(
            Error::new(format!("{} does not apply to {source}", self.name))
                .because(places.join("\n"))
                .remedy(format!("mend guest-kernel-patches/{}", self.name)),
        )
    }
}

/// The file names in a series, each with its line number.
fn names(list: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = list.lines().enumerate();
    lines
        .map(|(nr, l)| (nr + 1, l.split('#').next().unwrap_or("").trim()))
        .filter(|(_, l)| !l.is_empty())
}

/// What `patch` could not do, a line per hunk or file.
fn misfits(said: &str) -> Vec<String> {
    let mut file = "";
    let mut places = Vec::new();
    for line in said.lines() {
        let line = line.trim();
        if let Some(rest) = line
            .strip_prefix("patching file ")
            .or_else(|| line.strip_prefix("checking file "))
        {
            file = rest.trim_matches('\'');
        } else if line.starts_with("Hunk #") && line.contains("FAILED") {
            let hunk = line.trim_start_matches("Hunk #").trim_end_matches('.');
            places.push(format!("{file}: hunk {}", hunk.replace("FAILED ", "")));
        } else if line.contains("already exists") || line.contains("previously applied") {
            places.push(format!("{file}: {line}"));
        } else if let Some(header) = line.strip_prefix("|--- ") {
            places.push(format!("{header}: there is no such file"));
        }
    }
    places
}

/// The files that a unified diff touches, without their first folder.
fn touched(text: &str) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((nr, line)) = lines.next() {
        if let Some((mut old, mut new)) = hunk_lengths(line) {
            while old > 0 || new > 0 {
                match lines.next().map(|(_, l)| l.chars().next()) {
                    Some(Some('-')) => old = old.saturating_sub(1),
                    Some(Some('+')) => new = new.saturating_sub(1),
                    Some(Some('\\')) => {}
                    Some(_) => {
                        old = old.saturating_sub(1);
                        new = new.saturating_sub(1);
                    }
                    None => {
                        let what = format!("line {}: the hunk is longer than the file", nr + 1);
                        return Err(Error::new(what));
                    }
                }
            }
        } else if ["rename from ", "copy from ", "GIT binary patch"]
            .iter()
            .any(|kind| line.starts_with(kind))
        {
            return Err(Error::new(format!("line {}: {line}", nr + 1))
                .because("only plain changes are supported")
                .remedy("git format-patch --no-renames"));
        } else if let Some(old) = line.strip_prefix("--- ")
            && let Some(new) = lines.peek().and_then(|(_, l)| l.strip_prefix("+++ "))
        {
            for name in [old, new] {
                let name = name.split('\t').next().unwrap_or("").trim();
                if name == "/dev/null" {
                    continue;
                }
                files.insert(below_first(name).ok_or_else(|| {
                    Error::new(format!("line {}: no a/ or b/ path: {name}", nr + 1))
                })?);
            }
        }
    }
    if files.is_empty() {
        return Err(Error::new("it changes no file"));
    }
    Ok(files)
}

/// The path without its first folder, if nothing in it leads elsewhere.
fn below_first(name: &str) -> Option<PathBuf> {
    let path: PathBuf = Path::new(name).components().skip(1).collect();
    let plain = |p: &Path| p.components().all(|c| matches!(c, Component::Normal(_)));
    (!path.as_os_str().is_empty() && plain(Path::new(name))).then_some(path)
}

/// The line counts of `@@ -1,2 +3,4 @@`; a count of one may be left out.
fn hunk_lengths(line: &str) -> Option<(usize, usize)> {
    let mut words = line.strip_prefix("@@ -")?.split(' ');
    let count = |range: &str| match range.split_once(',') {
        Some((_, count)) => count.parse().ok(),
        None => Some(1),
    };
    let old = count(words.next()?)?;
    let new = count(words.next()?.strip_prefix('+')?)?;
    Some((old, new))
}

#[cfg(test)]
mod tests {
    use super::super::patched_tree::PatchedTree;
    use super::*;

    const PATCH: &str = "\
Subject: one thing

--- not a header
--- a/dir/old.c
+++ b/dir/old.c
@@ -1,3 +1,3 @@
 one
-two
--- a/looks/like.a.header
+zwei
+++ b/neither
--- /dev/null
+++ b/new.c
@@ -0,0 +1 @@
+new
";

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("rexen-series-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn series(dir: &Path, patches: &[(&str, &str)]) -> Series {
        let list: String = patches.iter().map(|(n, _)| format!("{n}\n")).collect();
        write(dir, "series", &list);
        patches
            .iter()
            .for_each(|(name, text)| write(dir, name, text));
        Series::read(dir).unwrap()
    }

    fn change(from: &str, to: &str) -> String {
        format!("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-{from}\n+{to}\n")
    }

    fn patched(root: &Path) -> PatchedTree {
        PatchedTree {
            tree: root.join("tree"),
            originals: root.join("originals"),
            record: root.join("touched"),
            scratch: root.join("scratch"),
        }
    }

    #[test]
    fn touched_files_are_read_from_headers_and_not_from_hunks() {
        let files: Vec<_> = touched(PATCH).unwrap().into_iter().collect();
        assert_eq!(files, [Path::new("dir/old.c"), Path::new("new.c")]);
        assert!(touched("rename from a\nrename to b\n").is_err());
        assert!(touched("--- a/../x\n+++ b/../x\n").is_err());
        assert!(touched("words\n").is_err());
    }

    #[test]
    fn the_series_is_read_in_order_without_remarks_and_names_what_is_missing() {
        let dir = scratch("read");
        let read = series(&dir, &[("b.patch", &change("1", "2")), ("a.patch", PATCH)]);
        let names: Vec<_> = read.patches.iter().map(|p| &*p.name).collect();
        assert_eq!(names, ["b.patch", "a.patch"]);
        assert_eq!(read.of_file(Path::new("new.c")), ["a.patch"]);
        write(&dir, "series", "# first\n\na.patch # why\nnone.patch\n");
        let e = Series::read(&dir).unwrap_err();
        assert!(e.what.contains("none.patch") && e.remedy.unwrap().contains("line 4"));
        write(&dir, "series", "a.patch\na.patch\n");
        assert!(Series::read(&dir).unwrap_err().what.contains("twice"));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_changed_series_changes_only_the_files_it_must() {
        let root = scratch("sync");
        for name in ["tree/f", "tree/dir/old.c", "tree/g"] {
            write(&root, name, "one\ntwo\n-- a/looks/like.a.header\n");
        }
        write(&root, "tree/f", "1\n");
        let tree = patched(&root);
        let read = |name: &str| fs::read_to_string(root.join("tree").join(name));
        let when = |name: &str| {
            fs::metadata(root.join("tree").join(name))
                .unwrap()
                .modified()
        };
        let become_ = |patches: &[(&str, &str)]| {
            let series = series(&root.join("patches"), patches);
            tree.become_(&series, "test", Misfit::Refuse).unwrap();
        };
        let (first, second) = (change("1", "2"), change("2", "3"));

        become_(&[("1", &first), ("2", PATCH)]);
        assert_eq!(read("f").unwrap(), "2\n");
        assert_eq!(read("new.c").unwrap(), "new\n");
        assert!(read("dir/old.c").unwrap().contains("zwei"));
        let old = when("dir/old.c").unwrap();

        become_(&[("1", &first), ("2", PATCH), ("3", &second)]);
        assert_eq!(read("f").unwrap(), "3\n");
        assert_eq!(when("dir/old.c").unwrap(), old, "not written again");

        // An interrupted run may leave a file in any state.
        write(&root, "tree/f", "half");
        become_(&[("1", &first)]);
        assert_eq!(read("f").unwrap(), "2\n");
        assert!(
            read("new.c").is_err(),
            "a file that a patch made goes with it"
        );
        become_(&[]);
        assert_eq!(read("f").unwrap(), "1\n");
        assert!(read("dir/old.c").unwrap().contains("two"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_patch_that_does_not_apply_is_named_with_file_and_hunk_and_changes_nothing() {
        let root = scratch("misfit");
        write(&root, "tree/f", "1\n");
        let tree = patched(&root);
        let bad = change("7", "8");
        let series = series(
            &root.join("patches"),
            &[("good", &change("1", "2")), ("bad", &bad)],
        );
        let e = tree
            .become_(&series, "linux 9", Misfit::Refuse)
            .unwrap_err();
        assert_eq!(e.what, "bad does not apply to linux 9");
        assert_eq!(e.cause.unwrap(), "f: hunk 1 at 1");
        assert_eq!(fs::read_to_string(root.join("tree/f")).unwrap(), "1\n");

        let left_out = tree.become_(&series, "linux 9", Misfit::LeaveOut).unwrap();
        assert_eq!(left_out, ["bad"]);
        assert_eq!(fs::read_to_string(root.join("tree/f")).unwrap(), "2\n");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn fuzz_is_refused_and_an_offset_is_not() {
        let root = scratch("fuzz");
        let patch = "--- a/f\n+++ b/f\n@@ -2,3 +2,3 @@\n a\n-b\n+B\n c\n";
        let series = series(&root.join("patches"), &[("p", patch)]);
        let apply = |text: &str| {
            write(&root, "f", text);
            series.apply(&root, "test", Misfit::Refuse)
        };
        assert!(apply("x\nx\nx\nx\na\nb\nc\n").is_ok());
        assert!(apply("x\na\nb\nother\n").is_err());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_patch_for_a_missing_file_names_it() {
        let root = scratch("missing");
        let series = series(&root.join("patches"), &[("p", &change("1", "2"))]);
        let e = series.apply(&root, "test", Misfit::Refuse).unwrap_err();
        assert!(
            e.cause
                .as_ref()
                .unwrap()
                .contains("a/f: there is no such file"),
            "{e}"
        );
        fs::remove_dir_all(root).unwrap();
    }
}
