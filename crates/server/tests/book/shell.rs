//! Runs the commands of a page in its own directory, with its own server.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::curl::{Answer, curl};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Paths in the pages, and their replacements in the directory of the page.
const PLACES: [(&str, &str); 5] = [
    ("/var/lib/kazoo-storage", "./data"),
    ("/etc/kazoo-storage/", "./"),
    ("/var/log/kazoo-storage/", "./"),
    ("/srv/backup", "./backup"),
    ("/srv/moved", "./moved"),
];

/// The program, without environment variables that configure it.
pub(crate) fn program() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_kazoo-storage")))
}

fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("KAZOO_STORAGE_") {
            command.env_remove(name);
        }
    }
    command
}

/// The directory of the commands.
pub(crate) struct Shell {
    directory: TempDir,
    /// Contains a link to the program.
    path: TempDir,
    /// The command of `systemctl start`: that of the unit, or the last server.
    unit: String,
    server: Option<Server>,
    answer: Option<Answer>,
    output: String,
}

struct Server {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Shell {
    pub(crate) fn new(page: &str) -> Self {
        let (directory, path) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        // The files available to every page.
        fs::write(directory.path().join("message.mp3"), format!("ID3: {page}")).unwrap();
        fs::write(directory.path().join("long.mp3"), vec![b'x'; 2 << 20]).unwrap();
        let made = rcgen::generate_simple_self_signed(["storage.example.com".to_owned()]).unwrap();
        fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let link = path.path().join("kazoo-storage");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kazoo-storage"), link).unwrap();
        Self {
            directory,
            path,
            unit: String::new(),
            server: None,
            answer: None,
            output: String::new(),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let mut text = text.replace("127.0.0.1:9180", "127.0.0.1:0");
        for (place, here) in PLACES {
            text = text.replace(place, here);
        }
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    /// Runs the commands in `text`. Returns their number.
    pub(crate) fn run(&mut self, at: &str, text: &str) -> usize {
        let joined = text.replace("\\\n", " ");
        let commands = joined
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        commands.map(|command| self.command(at, command)).count()
    }

    /// The command line of a systemd unit.
    pub(crate) fn install(&mut self, unit: &str) {
        let joined = unit.replace("\\\n", " ");
        let start = joined
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/"));
        if let Some(start) = start {
            start.clone_into(&mut self.unit);
        }
    }

    fn command(&mut self, at: &str, command: &str) {
        let mut command = command.replace("cargo run --release -- ", "kazoo-storage ");
        if let Some(verb) = command
            .strip_suffix(" kazoo-storage")
            .and_then(|rest| rest.strip_prefix("systemctl "))
        {
            match verb {
                "start" => command.clone_from(&self.unit),
                "reload" => return self.reload(at),
                "stop" => return self.stop(at),
                other => panic!("{at}: the book's systemctl has no {other}"),
            }
        }
        for (place, here) in PLACES {
            command = command.replace(place, here);
        }
        if command.contains(" # status ") {
            self.shell(at, &command);
        } else if let Some(arguments) = command.strip_prefix("kazoo-storage serve") {
            self.serve(at, &words(arguments));
            self.unit.clone_from(&command);
        } else if let Some(arguments) = command.strip_prefix("curl ") {
            let server = self.server.as_ref().unwrap_or_else(|| panic!("{at}: no server runs"));
            self.answer = Some(curl(&words(arguments), &server.address, self.directory.path()));
        } else {
            self.shell(at, &command);
        }
    }

    /// Any other command. `# status N` is its expected status.
    fn shell(&mut self, at: &str, command: &str) {
        let (command, status) = match command.split_once(" # status ") {
            Some((command, status)) => (command, status.parse().unwrap()),
            None => (command, 0),
        };
        let address = self.server.as_ref().map(|server| server.address.clone());
        let mut command = command.to_owned();
        if let Some(address) = &address {
            command = command.replace("127.0.0.1:8080", address);
            if let Some(admin) = self.server.as_ref().and_then(Server::admin) {
                command = command.replace("127.0.0.1:9180", &admin);
            }
            // The host name in the pages has no address.
            if let Some(name) = command.strip_prefix("kazoo-storage check --settings ") {
                let here = self.directory.path().join(name);
                let settings = fs::read_to_string(&here)
                    .unwrap()
                    .replace("storage.example.com:8080", address);
                fs::write(here, settings).unwrap();
            }
        }
        let path = format!("{}:{}", self.path.path().display(), env::var("PATH").unwrap());
        let mut shell = clean(Command::new("sh"));
        shell
            .args(["-ec", &command])
            .env("PATH", path)
            // Other servers may run on this machine.
            .env("KAZOO_STORAGE_LISTEN", "127.0.0.1:0")
            .current_dir(&self.directory);
        if let Some(admin) = self.server.as_ref().and_then(Server::admin) {
            shell
                .env("KAZOO_STORAGE_ADMIN", &admin)
                .env("KAZOO_STORAGE_ADMIN_TOKEN_FILE", "data/admin-token");
        }
        let output = shell.stdin(Stdio::null()).output().unwrap();
        self.output = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(status), "{at}: {command}: {}", self.output);
    }

    /// The address of the server.
    pub(crate) fn address(&self) -> &str {
        &self.server.as_ref().unwrap().address
    }

    /// Starts the server on a free port. Stops a running one first.
    fn serve(&mut self, at: &str, arguments: &[String]) {
        self.server = None;
        let log = self.directory.path().join("log");
        let mut command = program();
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(&self.directory);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--listen" => drop(words.next()),
                "--admin" => {
                    words.next();
                    command.args(["--admin", "127.0.0.1:0"]);
                }
                word => drop(command.arg(word)),
            }
        }
        command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit_once("://").map(|(_, address)| address.to_owned());
        let server = Server {
            child,
            address: address.clone().unwrap_or_default(),
            log,
        };
        assert!(address.is_some(), "{at}: {}", server.log());
        self.server = Some(server);
    }

    /// Makes the server reload its files, and waits until it has.
    fn reload(&mut self, at: &str) {
        let count = |server: &Server| server.log().matches("reloaded").count();
        let before = self.server.as_ref().map_or(0, count);
        let server = self.signal(at, "-HUP");
        eventually(at, || count(server) > before);
    }

    fn stop(&mut self, at: &str) {
        self.signal(at, "-TERM");
        let child = &mut self.server.as_mut().unwrap().child;
        eventually(at, || child.try_wait().unwrap().is_some());
        let status = self.server.take().unwrap().child.wait().unwrap();
        assert!(status.success(), "{at}: {status}");
    }

    fn signal(&self, at: &str, signal: &str) -> &Server {
        let server = self.server.as_ref().unwrap_or_else(|| panic!("{at}: no server runs"));
        let pid = server.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        server
    }

    /// Asserts that this was the answer to the last `curl`.
    pub(crate) fn answered(&self, at: &str, expected: &str, json: bool) {
        let answer = self
            .answer
            .as_ref()
            .unwrap_or_else(|| panic!("{at}: nothing was asked"));
        let body = String::from_utf8_lossy(&answer.body);
        if json {
            let parse = |text: &str| -> serde_json::Value {
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{at}: {error}: {text}"))
            };
            assert_eq!(parse(&body), parse(expected), "{at}");
            return;
        }
        let whole = format!("{}\r\n\r\n{body}", answer.head);
        all_are_in(at, expected, &whole);
    }

    /// Asserts the output of the last command. A line `…` matches any number of lines.
    pub(crate) fn printed(&self, at: &str, expected: &str) {
        let mut lines = self.output.lines();
        let mut skip = false;
        for pattern in expected.lines() {
            if pattern == "…" {
                skip = true;
                continue;
            }
            let found = lines.find(|line| !skip || matches(pattern, line));
            let found = found.is_some_and(|line| matches(pattern, line));
            assert!(found, "{at}: no {pattern:?} in\n{}", self.output);
            skip = false;
        }
        assert!(
            skip || lines.next().is_none(),
            "{at}: there is more in\n{}",
            self.output
        );
    }

    /// Asserts that the server has logged these lines.
    pub(crate) fn logged(&self, at: &str, expected: &str) {
        let server = self.server.as_ref().unwrap_or_else(|| panic!("{at}: no server runs"));
        let has = |pattern: &str| server.log().lines().any(|line| matches(pattern, line));
        // The line is logged after the end of the answer.
        for pattern in expected.lines().filter(|line| !line.is_empty()) {
            eventually(&format!("{at}: {pattern}: {}", server.log()), || has(pattern));
        }
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

impl Server {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The address of its admin endpoint.
    fn admin(&self) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("admin endpoint started"))?;
        Some(line.split_once("address=")?.1.trim().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn all_are_in(at: &str, expected: &str, whole: &str) {
    for pattern in expected.lines().filter(|line| !line.is_empty()) {
        let found = whole.lines().any(|line| matches(pattern, line));
        assert!(found, "{at}: nowhere {pattern:?} in\n{whole}");
    }
}

/// Returns `true` if `line` matches `pattern`, in which `…` matches anything.
fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.trim_end().split('…');
    let Some(mut rest) = line.trim_end().strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut open = false;
    for piece in pieces {
        let Some(start) = rest.find(piece) else { return false };
        rest = &rest[start + piece.len()..];
        open = piece.is_empty();
    }
    rest.is_empty() || open
}

/// The words of a command line, with the quoting of a shell.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
