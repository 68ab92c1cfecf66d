//! Which files are meant, what they are, and where their results go.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::outcome::Failure;
use crate::still;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One picture.
    Still,
    /// Moving pictures.
    Clip,
}

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Exactly as given, or found below a folder as given.
    pub path: PathBuf,
    /// What it holds.
    pub kind: Kind,
    /// Where it lies below the folder it was found in; its own name otherwise.
    pub relative: PathBuf,
}

/// All files that the arguments stand for.
#[derive(Debug, Default)]
pub struct Inputs {
    /// In a stable order.
    pub files: Vec<Input>,
    /// Found in folders and not understood: named, never copied.
    pub unknown: Vec<PathBuf>,
    /// Arguments that cannot be read, and why; the others are done.
    pub failed: Vec<Failure>,
    /// At least one argument was a folder.
    pub folder: bool,
}

/// File name extensions of clips.
const CLIPS: [&str; 24] = [
    "mp4", "m4v", "mov", "qt", "mkv", "webm", "avi", "ts", "m2ts", "mts", "mpg", "mpeg", "flv", "ogv", "wmv",
    "asf", "3gp", "3g2", "mxf", "dv", "h264", "hevc", "ivf", "y4m",
];

/// What a file is by its name.
pub fn kind_by_name(path: &Path) -> Option<Kind> {
    if still::format_of(path).is_some() {
        return Some(Kind::Still);
    }
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    CLIPS.contains(&extension.as_str()).then_some(Kind::Clip)
}

/// A file named by the user: by its name, else by its first bytes, else a clip for ffmpeg to judge.
fn kind_of_named(path: &Path) -> Kind {
    kind_by_name(path).unwrap_or_else(|| {
        let guessed =
            image::ImageReader::open(path).ok().and_then(|r| r.with_guessed_format().ok()?.format());
        if guessed.is_some() { Kind::Still } else { Kind::Clip }
    })
}

/// Finds every file. `output` is left out, when it lies inside a folder that is read.
pub fn find(arguments: &[PathBuf], output: Option<&Path>) -> Result<Inputs, Failure> {
    let mut inputs = Inputs::default();
    let output = output.and_then(|p| p.canonicalize().ok());
    for path in arguments {
        if let Err(failure) = add(path, arguments.len(), output.as_deref(), &mut inputs) {
            inputs.failed.push(failure);
        }
    }
    match inputs.failed.first() {
        Some(failure) if inputs.files.is_empty() => Err(failure.clone()),
        _ => Ok(inputs),
    }
}

/// Adds what one of `arguments` arguments stands for.
fn add(path: &Path, arguments: usize, output: Option<&Path>, inputs: &mut Inputs) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path).map_err(|e| {
        let hint = if e.kind() == std::io::ErrorKind::NotFound { "; check the name" } else { "" };
        Failure::new(format!("cannot be read: {e}{hint}")).about(path)
    })?;
    if !metadata.is_dir() {
        let name = path.file_name().ok_or_else(|| Failure::new("names no file").about(path))?;
        inputs.files.push(Input {
            path: path.to_path_buf(),
            kind: kind_of_named(path),
            relative: name.into(),
        });
        return Ok(());
    }
    inputs.folder = true;
    let root = path.canonicalize().map_err(|e| Failure::new(e.to_string()).about(path))?;
    let base = match (arguments, path.file_name()) {
        (2.., Some(name)) => PathBuf::from(name),
        _ => PathBuf::new(),
    };
    let before = inputs.files.len();
    walk(path, &base, &root, output, inputs)?;
    if inputs.files.len() == before {
        return Err(Failure::new("holds no picture and no clip that is understood").about(path));
    }
    Ok(())
}

fn walk(
    dir: &Path,
    relative: &Path,
    root: &Path,
    output: Option<&Path>,
    inputs: &mut Inputs,
) -> Result<(), Failure> {
    let unreadable = |e: std::io::Error| Failure::new(format!("cannot be read: {e}")).about(dir);
    let mut entries: Vec<_> =
        std::fs::read_dir(dir).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let relative = relative.join(entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        // A link may lead anywhere: folders behind links are not entered, files only when they lie inside.
        let real = path.canonicalize().ok();
        let inside = real.as_deref().is_some_and(|p| p.starts_with(root));
        if kind.is_dir() {
            if real.as_deref() != output {
                walk(&path, &relative, root, output, inputs)?;
            }
        } else if kind.is_file() || (kind.is_symlink() && inside && path.is_file()) {
            match kind_by_name(&path) {
                Some(kind) => inputs.files.push(Input { path, kind, relative }),
                None => inputs.unknown.push(path),
            }
        } else {
            inputs.unknown.push(path);
        }
    }
    Ok(())
}

/// Where each result goes: `output` itself for one file, below it for several or for a folder.
pub fn targets(
    inputs: &Inputs,
    output: &Path,
    rename: &dyn Fn(&Input) -> PathBuf,
) -> Result<Vec<PathBuf>, Failure> {
    let is_folder = inputs.folder
        || inputs.files.len() + inputs.failed.len() > 1
        || output.is_dir()
        || output.as_os_str().as_encoded_bytes().ends_with(b"/");
    if is_folder && output.exists() && !output.is_dir() {
        return Err(Failure::new("must be a folder, because there are several inputs").about(output));
    }
    let targets: Vec<PathBuf> = match (is_folder, inputs.files.as_slice()) {
        (false, [_]) => vec![output.to_path_buf()],
        (_, files) => files.iter().map(|f| output.join(rename(f))).collect(),
    };
    for (i, (input, target)) in inputs.files.iter().zip(&targets).enumerate() {
        if same_file(&input.path, target) {
            return Err(Failure::new(
                "is the input itself; the original is never changed, choose another -o",
            )
            .about(target));
        }
        if let Some(twin) = targets[..i].iter().position(|t| t == target) {
            return Err(Failure::new(format!(
                "would be written twice, from {} and {}; redact them into different folders",
                inputs.files[twin].path.display(),
                input.path.display()
            ))
            .about(target));
        }
    }
    Ok(targets)
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// True for `-`.
pub fn is_dash(path: &Path) -> bool {
    path.as_os_str() == OsStr::new("-")
}
