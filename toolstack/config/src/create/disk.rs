//! Entries of `disk`: 2.0's `UNAME,DEV,MODE[,BACKEND]` and xl's `TARGET,FORMAT,VDEV,ACCESS` and `key=value`.

use crate::spec::{Disk, DiskMode, DiskSource, SpecError, Vdev};
use crate::suggest;

const KEYS: &[&str] = &[
    "access",
    "backend",
    "backendtype",
    "devtype",
    "format",
    "script",
    "target",
    "vdev",
];
const HVM: &str = "Rexen runs PV guests: their discs are named xvda and so on, without ioemu:";

/// Reads an entry of `disk`.
///
/// # Errors
/// It is neither of the two forms, or a part of it does not fit.
///
/// # Source
/// 2.0's manual; Xen's `xl-disk-configuration(5)` for the second form.
pub fn parse_disk(entry: &str) -> Result<Disk, SpecError> {
    let parts: Vec<&str> = entry.split(',').map(str::trim).collect();
    match parts[0].split_once(':') {
        Some((kind, _)) if kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => {
            xen2(entry, &parts)
        }
        _ => xl(entry),
    }
}

fn xen2(entry: &str, parts: &[&str]) -> Result<Disk, SpecError> {
    let (uname, dev, mode, backend) = match parts {
        [uname, dev, mode] => (uname, dev, mode, None),
        [uname, dev, mode, backend] => (uname, dev, mode, Some(backend.parse()?)),
        _ => {
            return Err(SpecError::invalid(
                "disk",
                entry,
                "UNAME,DEV,MODE[,BACKEND], as in phy:vg/root,xvda,w",
            ));
        }
    };
    let source = source_of_uname(uname)?;
    let (dev, cdrom) = device(dev)?;
    Ok(Disk {
        source,
        dev,
        mode: mode.parse()?,
        backend,
        script: None,
        cdrom,
    })
}

/// Reads `TYPE:PARAMS`; what xm called `tap:aio:` is a file like any other.
fn source_of_uname(uname: &str) -> Result<DiskSource, SpecError> {
    let plain = ["tap:aio:", "tap2:aio:", "tap:", "tap2:", "aio:"]
        .iter()
        .find_map(|prefix| uname.strip_prefix(prefix));
    let Some(path) = plain else {
        return uname.parse();
    };
    match path.split_once(':') {
        Some((format, _)) => Err(format_refused(format)),
        None => DiskSource::try_new("file", path),
    }
}

fn format_refused(format: &str) -> SpecError {
    let reason = "discs are raw: convert the image with 'qemu-img convert -O raw'";
    SpecError::refused(format!("disc format {format:?}"), reason)
}

/// Reads a device name, perhaps with `:disk` or `:cdrom` behind it.
fn device(dev: &str) -> Result<(Vdev, bool), SpecError> {
    if dev.starts_with("ioemu:") {
        return Err(SpecError::refused(dev, HVM));
    }
    match dev.split_once(':') {
        None | Some((_, "disk")) => Ok((dev.strip_suffix(":disk").unwrap_or(dev).parse()?, false)),
        Some((dev, "cdrom")) => Ok((dev.parse()?, true)),
        Some(_) => Err(SpecError::invalid(
            "device",
            dev,
            "only :disk or :cdrom may follow a name",
        )),
    }
}

/// What has been read of an entry in xl's form.
#[derive(Default)]
struct Parts<'a> {
    target: Option<&'a str>,
    format: Option<&'a str>,
    vdev: Option<&'a str>,
    access: Option<&'a str>,
    backend: Option<&'a str>,
    script: Option<&'a str>,
    cdrom: bool,
}

fn xl(entry: &str) -> Result<Disk, SpecError> {
    let mut parts = Parts::default();
    let mut position = 0;
    let mut rest = Some(entry);
    while let Some(text) = rest.take() {
        // The target may hold anything, and hence comes last: it is all that follows.
        if let Some(target) = text.trim_start().strip_prefix("target=") {
            set(&mut parts.target, target.trim(), "target")?;
            break;
        }
        let (part, after) = text
            .split_once(',')
            .map_or((text, None), |(part, after)| (part, Some(after)));
        rest = after;
        let part = part.trim();
        if let Some((key, value)) = part.split_once('=').filter(|(key, _)| is_key(key)) {
            parts.set_key(key.trim(), value.trim())?;
        } else if part == "cdrom" && position > 0 {
            parts.cdrom = true;
        } else {
            let slots = [
                (&mut parts.target, "target"),
                (&mut parts.format, "format"),
                (&mut parts.vdev, "vdev"),
                (&mut parts.access, "access"),
            ];
            let Some((slot, name)) = slots.into_iter().nth(position) else {
                return Err(SpecError::invalid(
                    "disk",
                    part,
                    "a disc has target, format, vdev and access, and else key=value",
                ));
            };
            position += 1;
            if !part.is_empty() {
                set(slot, part, name)?;
            }
        }
    }
    parts.finish()
}

/// Whether something before `=` is a key, and not the beginning of a path.
fn is_key(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'_')
}

fn set<'a>(
    slot: &mut Option<&'a str>,
    value: &'a str,
    name: &'static str,
) -> Result<(), SpecError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(before) => Err(SpecError::invalid(
            "disk",
            format_args!("{name}={value}"),
            format_args!("{name} is {before:?} already"),
        )),
    }
}

impl<'a> Parts<'a> {
    fn set_key(&mut self, key: &str, value: &'a str) -> Result<(), SpecError> {
        match key {
            "format" => set(&mut self.format, value, "format"),
            "vdev" => set(&mut self.vdev, value, "vdev"),
            "access" => set(&mut self.access, value, "access"),
            "backend" => set(&mut self.backend, value, "backend"),
            "script" => set(&mut self.script, value, "script"),
            "devtype" => match value {
                "disk" => Ok(()),
                "cdrom" => {
                    self.cdrom = true;
                    Ok(())
                }
                _ => Err(SpecError::invalid("devtype", value, "disk or cdrom")),
            },
            "backendtype" => match value {
                "phy" => Ok(()),
                _ => Err(SpecError::refused(
                    format!("backendtype={value}"),
                    "the back-end is the kernel's: leave it out",
                )),
            },
            _ => {
                let near = suggest::nearest(key, KEYS.iter().copied());
                let expected = near.map_or_else(
                    || format!("the keys are {}", KEYS.join(", ")),
                    |near| format!("did you mean {near}=?"),
                );
                Err(SpecError::invalid("key of a disk", key, expected))
            }
        }
    }

    fn finish(self) -> Result<Disk, SpecError> {
        if let Some(format) = self.format.filter(|format| *format != "raw") {
            return Err(format_refused(format));
        }
        let target = self
            .target
            .filter(|target| !target.is_empty())
            .ok_or(SpecError::Missing("target of a disk"))?;
        let vdev = self
            .vdev
            .ok_or(SpecError::Missing("vdev of a disk, such as xvda"))?;
        let (dev, cdrom) = device(vdev)?;
        let source = match self.script {
            Some(script) => {
                let name = script.rsplit('/').next().unwrap_or(script);
                DiskSource::try_new(name.strip_prefix("block-").unwrap_or(name), target)?
            }
            None if target.starts_with("/dev/") => DiskSource::try_new("phy", target)?,
            None if target.starts_with('/') => DiskSource::try_new("file", target)?,
            None => {
                return Err(SpecError::invalid(
                    "target of a disk",
                    target,
                    "an absolute path",
                ));
            }
        };
        let cdrom = cdrom || self.cdrom;
        // xl's default; a CD is never written.
        let default = DiskMode {
            writable: !cdrom,
            unchecked: false,
        };
        let mode = self.access.map_or(Ok(default), str::parse)?;
        let backend = self.backend.map(str::parse).transpose()?;
        Ok(Disk {
            source,
            dev,
            mode,
            backend,
            script: self.script.map(str::to_owned),
            cdrom,
        })
    }
}
