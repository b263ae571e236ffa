//! Reads the operator's files: settings, access rules and certificates.

use std::{
    error::Error,
    fs::OpenOptions,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::fs::OFlags;

/// The maximum length of such a file. Thousands of credentials take less than a mebibyte.
const MAX_LEN: u64 = 16 << 20;

/// The time limit for a read. A hanging network file system blocks for minutes.
const DEADLINE: Duration = Duration::from_secs(10);

/// The maximum number of threads that may hang in reads. A thread that hangs in the kernel cannot be ended.
const MAX_HANGING: usize = 4;

static HANGING: AtomicUsize = AtomicUsize::new(0);

/// Reads the file of `flag` at `path`, which must be a regular file: reading a pipe could block forever.
///
/// Blocks for at most ten seconds, even if the file system hangs. The error names the flag and the file.
pub(crate) fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    let owned = path.to_owned();
    within(DEADLINE, move || read_regular(&owned)).map_err(|error| cannot_read(flag, path, &error))
}

/// Reads the text of the file of `flag` at `path`, as [`read`] does.
pub(crate) fn read_text(flag: &str, path: &Path) -> Result<String, String> {
    String::from_utf8(read(flag, path)?).map_err(|error| cannot_read(flag, path, &error))
}

fn cannot_read(flag: &str, path: &Path, error: &dyn Error) -> String {
    format!("cannot read {flag} {}: {error}", path.display())
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    // With this flag, opening a pipe does not wait for its writer.
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    if !file.metadata()?.is_file() {
        let message = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut content = Vec::new();
    if file.take(MAX_LEN + 1).read_to_end(&mut content)? as u64 > MAX_LEN {
        let message = format!("it is longer than {MAX_LEN} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// Runs `work` on a thread of its own and waits for it until `deadline`.
fn within<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let late = |message: &str| io::Error::new(io::ErrorKind::TimedOut, message.to_owned());
    if HANGING.load(Ordering::Relaxed) >= MAX_HANGING {
        return Err(late("earlier reads still hang; check the file system"));
    }
    // Unbuffered: either the result is received, or the thread learns that the receiver is gone.
    let (sender, receiver) = mpsc::sync_channel(0);
    thread::Builder::new().name("read-file".to_owned()).spawn(move || {
        if sender.send(work()).is_err() {
            HANGING.fetch_sub(1, Ordering::Relaxed);
        }
    })?;
    match receiver.recv_timeout(deadline) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => {
            HANGING.fetch_add(1, Ordering::Relaxed);
            Err(late("the file system did not answer in time"))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(io::Error::other(
            "the thread that reads it panicked; this is a defect of the program",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn reads_regular_files_only() {
        let directory = TempDir::new().unwrap();
        let (file, pipe) = (directory.path().join("file"), directory.path().join("pipe"));
        fs::write(&file, "text").unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let read = |path: &Path| read_text("--access", path);
        assert_eq!(read(&file).unwrap(), "text");
        for irregular in [&*pipe, directory.path(), Path::new("/dev/zero")] {
            let error = read(irregular).unwrap_err();
            assert!(error.contains("not a regular file"), "{error}");
        }
        fs::File::create(&file).unwrap().set_len(MAX_LEN + 1).unwrap();
        assert!(read(&file).unwrap_err().contains("longer than"));
        fs::write(&file, b"\xff").unwrap();
        let error = read(&file).unwrap_err();
        assert!(
            error.starts_with(&format!("cannot read --access {}: invalid utf-8", file.display())),
            "{error}"
        );
    }

    #[test]
    fn distinguishes_a_panic_from_a_hanging_file_system() {
        let error = within(Duration::from_secs(60), || -> io::Result<()> { panic!("a defect") }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
    }

    #[test]
    fn limits_the_time_of_a_hanging_file_system() {
        let (release, hang) = mpsc::channel::<()>();
        let error = within(Duration::ZERO, move || {
            let _ = hang.recv();
            Ok(())
        })
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(release);
    }
}
