//! A command for each voicemail, at least once: a speech recogniser, a mailer, an upload to the CRM.
//!
//! ```console
//! cargo run --example transcribe -- 8080 data whisper-cli -f -  # port, directory, command
//! cargo test --example transcribe
//! ```
//!
//! The command gets the file on its standard input. Its output is kept in `data/.transcripts/EVENT.txt`. A command that
//! fails is run again after a minute, ten times; the upload does not wait for it. Upload a voicemail as KAZOO does:
//!
//! ```console
//! curl -i -T message.mp3 http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/5d41402abc4b2a76b9719d911017c592.mp3
//! ```

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use axum::Router;
use http_body_util::BodyExt as _;
use kazoo_storage::{BlobKey, BlobStore, FsStore, GetResult, KazooStorage, kazoo_id::AttachmentKind};
use kazoo_storage_ledger::{Consumer, Event, EventKind, Ledger, Recorded};
use tokio::{fs, io::AsyncWriteExt as _, net::TcpListener, process::Command, signal::ctrl_c};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Number of times that a command is run for an event before it is given up.
const ATTEMPTS: u64 = 10;

/// Time after which a failed command is run again.
const RETRY: Duration = Duration::from_secs(60);

/// Time after which a command that has not ended is run again: longer than the longest takes.
const LONGEST: Duration = Duration::from_secs(3600);

/// Runs a command for each stored voicemail.
struct Transcriber<S> {
    store: S,
    command: Vec<String>,
    directory: PathBuf,
}

impl<S: BlobStore> Transcriber<S> {
    /// Works until the ledger is closed.
    async fn run(&self, consumer: Consumer) -> Result<(), BoxError> {
        while let Some(job) = consumer.next().await {
            match self.process(job.event()).await {
                Ok(()) => drop(job.ack().await?),
                Err(error) if job.attempts() < ATTEMPTS => {
                    eprintln!("{}: {error}; next attempt in a minute", job.event().file.key);
                    job.retry(RETRY, error).await?;
                }
                Err(error) => {
                    eprintln!("{}: {error}; given up", job.event().file.key);
                    job.bury(error).await?;
                }
            }
        }
        Ok(())
    }

    async fn process(&self, event: &Event) -> Result<(), BoxError> {
        let is_voicemail = event.file.kind == Some(AttachmentKind::Voicemail);
        if event.kind == EventKind::Deleted || !is_voicemail {
            return Ok(());
        }
        // The same name each time: a second run for one event replaces its own result.
        let result = self.directory.join(format!("{}.txt", event.id));
        let Some(text) = self.transcribe(&event.file.key).await? else {
            return Ok(());
        };
        let unfinished = result.with_extension("tmp");
        fs::write(&unfinished, &text).await?;
        fs::rename(&unfinished, &result).await?;
        println!("{}: {} bytes in {}", event.file.key, text.len(), result.display());
        Ok(())
    }

    /// Returns the output of the command, or `None` if the file was deleted meanwhile.
    async fn transcribe(&self, key: &BlobKey) -> Result<Option<Vec<u8>>, BoxError> {
        let mut body = match self.store.get(key, None).await {
            Ok(GetResult::Blob(blob)) => blob.body,
            Ok(_) => return Err("the store redirects".into()),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (program, arguments) = self.command.split_first().ok_or("no command")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut input = child.stdin.take().ok_or("the command has no input")?;
        let write = async {
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                // A command may end before it has read the whole file.
                if input.write_all(&data).await.is_err() {
                    break;
                }
            }
            drop(input);
            Ok::<_, BoxError>(())
        };
        let (written, output) = tokio::join!(write, child.wait_with_output());
        written?;
        let output = output?;
        if !output.status.success() {
            return Err(format!("the command failed: {}", output.status).into());
        }
        Ok(Some(output.stdout))
    }
}

/// Opens the files, the ledger and the directory of the results below `root`.
async fn open(
    root: &Path,
    command: Vec<String>,
) -> Result<(Recorded<FsStore>, Ledger, Transcriber<FsStore>), BoxError> {
    let files = FsStore::open(root)?;
    // No key has a segment with a leading dot, so these are not in the way of files.
    let directory = root.join(".transcripts");
    fs::create_dir_all(&directory).await?;
    let ledger = Ledger::sqlite(root.join(".transcripts/ledger.sqlite")).await?;
    let transcriber = Transcriber {
        store: files.clone(),
        command,
        directory,
    };
    Ok((Recorded::new(files, ledger.clone()), ledger, transcriber))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = env::args().skip(1);
    let port = args.next().map_or(Ok(8080), |port| port.parse())?;
    let root = PathBuf::from(args.next().unwrap_or_else(|| "data".to_owned()));
    let mut command: Vec<String> = args.collect();
    if command.is_empty() {
        command = vec!["sha256sum".to_owned()];
    }
    let (store, ledger, transcriber) = open(&root, command).await?;
    let consumer = ledger.consumer("transcribe").await?.visibility(LONGEST);
    let worker = tokio::spawn(async move { transcriber.run(consumer).await });

    let storage = KazooStorage::new(store).into_service();
    let app = Router::new().nest_service("/some_prefix", storage);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = ctrl_c().await;
        })
        .await?;
    // The worker ends after its present job. Events that are left are received after the next start.
    ledger.close();
    worker.await?
}

#[cfg(test)]
mod tests {
    // A test fails by panicking.
    #![allow(clippy::unwrap_used)]

    use kazoo_storage::{Upload, digest::Digest};

    use super::*;

    const VOICEMAIL: &str = "ACC/202401-DOC/5d41402abc4b2a76b9719d911017c592.mp3";

    /// `sha256sum` stands for a recogniser: its output shows that the command has read the whole file.
    fn command(name: &[&str]) -> Vec<String> {
        name.iter().map(|&part| part.to_owned()).collect()
    }

    async fn put(store: &impl BlobStore, path: &str, content: Vec<u8>) {
        let upload = Upload::new(BlobKey::from_path(path).unwrap(), content);
        store.put(upload).await.unwrap();
    }

    fn results(root: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(root.join(".transcripts")).unwrap();
        let texts = entries.map(|entry| entry.unwrap().path());
        let texts = texts.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
        texts.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    #[tokio::test]
    async fn runs_the_command_for_voicemails_alone() {
        let root = tempfile::tempdir().unwrap();
        let (store, ledger, transcriber) = open(root.path(), command(&["sha256sum"])).await.unwrap();
        let consumer = ledger.consumer("test").await.unwrap();
        // Longer than the buffer of a pipe.
        let content = vec![7; 300_000];
        put(&store, "ACC/202401-DOC/greeting.mp3", vec![1]).await;
        put(&store, VOICEMAIL, content.clone()).await;
        while let Some(job) = consumer.try_next().await.unwrap() {
            transcriber.process(job.event()).await.unwrap();
            job.ack().await.unwrap();
        }
        assert_eq!(results(root.path()), [format!("{}  -\n", Digest::of(&content))]);
    }

    #[tokio::test]
    async fn a_command_that_fails_or_does_not_read_loses_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (store, ledger, mut transcriber) = open(root.path(), command(&["false"])).await.unwrap();
        let consumer = ledger.consumer("test").await.unwrap();
        put(&store, VOICEMAIL, vec![7; 300_000]).await;
        let job = consumer.try_next().await.unwrap().unwrap();
        let error = transcriber.process(job.event()).await.unwrap_err();
        assert!(error.to_string().contains("the command failed"), "{error}");
        job.retry(Duration::ZERO, error).await.unwrap();

        transcriber.command = command(&["echo", "heard"]);
        let job = consumer.try_next().await.unwrap().unwrap();
        transcriber.process(job.event()).await.unwrap();
        job.ack().await.unwrap();
        assert_eq!(results(root.path()), ["heard\n"]);
    }
}
