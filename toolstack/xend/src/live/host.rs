//! Linux as the host: files, loop devices, scripts, the state of its backend drivers.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result};
use crate::world::{DomId, Host};

/// This host.
pub struct LinuxHost;

fn at(path: &str) -> impl Fn(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| {
        let kind = if error.kind() == ErrorKind::NotFound {
            Kind::NotFound
        } else {
            Kind::Failed
        };
        Error::new(kind, format!("{path}: {error}"))
    }
}

/// Text of a file of the kernel, without the newline; `None` where there is none.
fn kernel_text(path: &str) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end_matches('\n').to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(at(path)(error)),
    }
}

/// Runs a program and gives its output; a failure has its words.
fn run<S: AsRef<OsStr>>(program: &str, args: &[S], env: &[(String, String)]) -> Result<String> {
    let mut command = Command::new(program);
    command
        .args(args)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null());
    let output = command.output().map_err(at(program))?;
    if !output.status.success() {
        // Why, rather than what it did before.
        let words = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
        let said = words
            .iter()
            .flat_map(|words| words.lines())
            .map(str::to_owned)
            .next_back();
        return Err(Error::failed(format!(
            "{program}: {}: {}",
            output.status,
            said.unwrap_or_else(|| "it says nothing".into())
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads `+HHMM`.
fn seconds_of_zone(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number: u16 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let number = i64::from(number);
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

impl Host for LinuxHost {
    fn check_file(&self, path: &str) -> Result<()> {
        let metadata = File::open(path)
            .and_then(|file| file.metadata())
            .map_err(at(path))?;
        if metadata.is_dir() {
            return Err(Error::invalid(format!("{path} is a folder")));
        }
        Ok(())
    }

    fn free_loop(&self) -> Result<String> {
        let node = run("losetup", &["-f"], &[])?;
        Ok(node.trim().to_owned())
    }

    fn loop_file(&self, node: &str) -> Result<Option<String>> {
        let name = node.trim_start_matches("/dev/");
        let file = kernel_text(&format!("/sys/block/{name}/loop/backing_file"))?;
        Ok(file.map(|file| file.trim_end_matches(" (deleted)").to_owned()))
    }

    fn block_bind(
        &self,
        script: &str,
        params: &[String],
        hint: &str,
        writable: bool,
    ) -> Result<String> {
        let mut args = vec!["bind".to_owned()];
        args.extend_from_slice(params);
        let access = if writable { "w" } else { "r" };
        let env = [
            ("node".to_owned(), hint.to_owned()),
            ("mode".to_owned(), access.to_owned()),
        ];
        let output = run(script, &args, &env)?;
        let node = output.lines().next().unwrap_or_default().trim();
        if node.is_empty() {
            return Err(Error::failed(format!(
                "{script} bind: it printed no device"
            )));
        }
        Ok(node.to_owned())
    }

    fn block_unbind(&self, script: &str, node: &str) -> Result<()> {
        run(script, &["unbind", node], &[]).map(drop)
    }

    fn device_number(&self, node: &str) -> Result<(u32, u32)> {
        let metadata = fs::metadata(node).map_err(at(node))?;
        if !metadata.file_type().is_block_device() {
            return Err(Error::invalid(format!(
                "{node} is no block device; for an image file use file:{node}"
            )));
        }
        let number = metadata.rdev();
        Ok((rustix::fs::major(number), rustix::fs::minor(number)))
    }

    fn mounted(&self, node: &str) -> Result<Option<bool>> {
        let (major, minor) = self.device_number(node)?;
        let path = "/proc/self/mountinfo";
        let mounts = fs::read_to_string(path).map_err(at(path))?;
        Ok(mounted_as(&mounts, major, minor))
    }

    fn run_script(
        &self,
        script: &str,
        args: &[String],
        env: &[(String, String)],
    ) -> Result<String> {
        run(script, args, env)
    }

    fn canonical(&self, path: &str) -> String {
        fs::canonicalize(path).map_or_else(
            |_| path.to_owned(),
            |path| path.to_string_lossy().into_owned(),
        )
    }

    fn has_interface(&self, name: &str) -> Result<bool> {
        Ok(Path::new("/sys/class/net").join(name).exists())
    }

    fn has_driver(&self, kind: &str) -> Result<bool> {
        Ok(Path::new(&format!("/sys/bus/xen-backend/drivers/{kind}")).exists())
    }

    fn has_backend(&self, kind: &str, domid: DomId, devid: u32) -> Result<bool> {
        Ok(Path::new(&format!(
            "/sys/bus/xen-backend/devices/{kind}-{domid}-{devid}"
        ))
        .exists())
    }

    fn boot_id(&self) -> Result<String> {
        let path = "/proc/sys/kernel/random/boot_id";
        kernel_text(path)?
            .ok_or_else(|| Error::failed(format!("{path} is missing: is /proc mounted?")))
    }

    fn load(&self, path: &str) -> Result<Option<String>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(path)(error)),
        }
    }

    fn save(&self, path: &str, text: &str) -> Result<()> {
        let folder = Path::new(path).parent().unwrap_or(Path::new("."));
        let beside = format!("{path}.new");
        let write = || {
            fs::create_dir_all(folder)?;
            let mut file = File::create(&beside)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            fs::rename(&beside, path)
        };
        write().map_err(at(path))
    }

    fn remove(&self, path: &str) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
            _ => Ok(()),
        }
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at(folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry
                .map_err(at(folder))?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if !name.ends_with(".new") {
                names.push(name); // A `.new` was being written when xend was killed.
            }
        }
        names.sort();
        Ok(names)
    }

    fn now(&self) -> f64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64())
    }

    fn utc_offset(&self) -> Result<i64> {
        let said = run("date", &["+%z"], &[])?;
        seconds_of_zone(said.trim()).ok_or_else(|| {
            Error::failed(format!("date +%z says {}, which is no offset", said.trim()))
        })
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let drawn = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
        // A host without /dev/urandom cannot run xend at all.
        drawn.unwrap_or_else(|error| panic!("/dev/urandom: {error}"));
        bytes
    }
}

/// How mountinfo says a device is mounted: writable if anywhere.
fn mounted_as(mounts: &str, major: u32, minor: u32) -> Option<bool> {
    let device = format!("{major}:{minor}");
    let mut found = None;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields.get(2) != Some(&device.as_str()) {
            continue;
        }
        let writable = |options: Option<&&str>| {
            options.is_some_and(|options| options.split(',').any(|word| word == "rw"))
        };
        // The last field has the file system's own options: a read-only mount of a writable file system is still in use.
        found = Some(found == Some(true) || writable(fields.last()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
                          30 22 8:2 / /b ro,relatime - ext4 /dev/sda2 ro\n\
                          31 22 8:3 / /c ro,relatime - ext4 /dev/sda3 rw\n";

    #[test]
    fn mounts_tell_who_writes() {
        assert_eq!(mounted_as(MOUNTS, 8, 1), Some(true));
        assert_eq!(mounted_as(MOUNTS, 8, 2), Some(false));
        assert_eq!(mounted_as(MOUNTS, 8, 3), Some(true));
        assert_eq!(mounted_as(MOUNTS, 8, 4), None);
    }

    #[test]
    fn files_are_replaced_whole() {
        let folder = std::env::temp_dir().join(format!("xend-host-{}", std::process::id()));
        let path = folder.join("domain/3");
        let path = path.to_str().unwrap();
        LinuxHost.save(path, "one").unwrap();
        LinuxHost.save(path, "two").unwrap();
        assert_eq!(LinuxHost.load(path).unwrap().as_deref(), Some("two"));
        assert_eq!(
            LinuxHost
                .names(folder.join("domain").to_str().unwrap())
                .unwrap(),
            ["3"]
        );
        LinuxHost.remove(path).unwrap();
        LinuxHost.remove(path).unwrap();
        assert_eq!(LinuxHost.load(path).unwrap(), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_script_that_fails_says_why() {
        let error = run(
            "/bin/sh",
            &["-c", "echo first >&2; echo no bridge >&2; exit 3"],
            &[],
        )
        .unwrap_err();
        assert!(
            error.text.contains("no bridge") || error.text.contains("first"),
            "{error}"
        );
        assert!(
            run("/proc/none/script", &["up"], &[])
                .unwrap_err()
                .text
                .starts_with("/proc/none/script: ")
        );
    }

    #[test]
    fn zones_are_hours_and_minutes() {
        assert_eq!(seconds_of_zone("+0000"), Some(0));
        assert_eq!(seconds_of_zone("+0545"), Some(20_700));
        assert_eq!(seconds_of_zone("-0330"), Some(-12_600));
        for bad in ["", "UTC", "+", "+1", "+01:0", "0100", "+-100"] {
            assert_eq!(seconds_of_zone(bad), None, "{bad}");
        }
    }
}
