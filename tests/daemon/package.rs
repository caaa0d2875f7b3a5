//! What a package is made of: the image, the Debian package, man pages as readers see them, completions in every shell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use btcfed_core::testing::test_key;

use crate::common::daemon::run;
use crate::common::skipped;

/// The folder with what is written by hand.
fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything `gen package` writes, in a directory of its own with a known peer `alice`.
fn package() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let made = run(dir.path(), &["gen", "package", "package"]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let alice = format!("{}@127.0.0.1:1", test_key(1));
    run(dir.path(), &["peers", "add", &alice, "--name", "alice"]);
    let package = dir.path().join("package");
    (dir, package)
}

/// Runs a program of this machine beside ours, at most 30 s; `None`, loudly, where it is not installed.
fn tool(name: &str, args: &[&str], dir: &Path) -> Option<Output> {
    let program = Path::new(env!("CARGO_BIN_EXE_btcfed")).parent().unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", program.display());
    let is_there = path
        .split(':')
        .any(|dir| Path::new(dir).join(name).is_file());
    if !is_there {
        skipped(&format!("{name} is not installed"));
        return None;
    }
    let mut command = Command::new("timeout");
    command.arg("30").arg(name).args(args).current_dir(dir);
    command.env_clear().env("PATH", path).env("HOME", dir);
    command
        .env("MANWIDTH", "80")
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "dumb");
    Some(command.output().unwrap())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// The instructions of the Dockerfile.
struct Image(Vec<(String, String)>);

impl Image {
    fn read() -> Self {
        let dockerfile = source("package/Dockerfile").replace("\\\n", " ");
        let lines = dockerfile.lines().map(str::trim);
        let instruction = |line: &str| {
            let (name, rest) = line.split_once(' ').unwrap();
            (name.to_owned(), rest.to_owned())
        };
        Self(
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(instruction)
                .collect(),
        )
    }

    /// What the instructions of a name say.
    fn all(&self, name: &str) -> Vec<&str> {
        let found = self.0.iter().filter(|(other, _)| other == name);
        found.map(|(_, rest)| rest.as_str()).collect()
    }

    fn one(&self, name: &str) -> &str {
        let found = self.all(name);
        assert_eq!(found.len(), 1, "{name}");
        found[0]
    }

    /// The words of an instruction that is run without a shell.
    fn words(&self, name: &str) -> Vec<String> {
        let rest = self.one(name);
        serde_json::from_str(&rest[rest.find('[').unwrap()..]).unwrap()
    }

    /// The stage that becomes the image.
    fn last_stage(&self) -> Self {
        let at = self.0.iter().rposition(|(name, _)| name == "FROM").unwrap();
        Self(self.0[at + 1..].to_vec())
    }
}

#[test]
fn the_image_is_built_in_two_stages_from_images_with_a_version() {
    let image = Image::read();
    let known =
        "CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK RUN STOPSIGNAL USER VOLUME WORKDIR";
    for (name, rest) in &image.0 {
        assert!(known.split(' ').any(|other| other == name), "{name} {rest}");
    }
    assert_eq!(image.0[0].0, "FROM");
    let stages = image.all("FROM");
    assert_eq!(stages.len(), 2);
    for stage in &stages {
        let from = stage.split(' ').next().unwrap();
        let (_, tag) = from.rsplit_once(':').expect("a tag");
        assert_ne!(tag, "latest", "{from}");
    }
    assert!(stages[1].contains("distroless") && stages[1].contains("nonroot"));
    let ignored = source("package/Dockerfile.dockerignore");
    assert!(
        ignored.lines().any(|line| line == "*"),
        "keys beside the sources stay outside"
    );
}

#[test]
fn the_image_has_no_shell_no_rights_and_a_probe_that_is_the_program_itself() {
    let image = Image::read().last_stage();
    assert_eq!(
        image.all("RUN"),
        [""; 0],
        "there is no shell to run anything"
    );
    let user = image.one("USER").split(':').next().unwrap().parse::<u32>();
    assert!(user.is_ok_and(|user| user > 0), "a number, and not root");
    assert_eq!(image.one("STOPSIGNAL"), "SIGTERM");
    assert_eq!(image.words("ENTRYPOINT"), ["/usr/bin/btcfed"]);
    let probe = image.words("HEALTHCHECK");
    assert_eq!(probe[..2], ["/usr/bin/btcfed", "health"]);
    // The words are commands of this program.
    let dir = tempfile::tempdir().unwrap();
    for words in [&probe[1..], &image.words("CMD")[..]] {
        let args = words.iter().map(String::as_str).chain(["--help"]);
        let shown = run(dir.path(), &args.collect::<Vec<_>>());
        assert_eq!(shown.status.code(), Some(0), "{words:?}");
    }
    let copies = image.all("COPY");
    assert!(copies.iter().all(|copy| copy.starts_with("--from=build ")));
    let program = "target/release/btcfed /usr/bin/btcfed";
    assert!(copies.iter().any(|copy| copy.ends_with(program)));
    let state = image.one("WORKDIR");
    assert!(image.one("VOLUME").contains(state) && image.one("ENV").ends_with(state));
}

#[test]
fn the_debian_package_names_only_files_that_there_are() {
    let manifest = source("Cargo.toml");
    let (_, deb) = manifest.split_once("[package.metadata.deb]").unwrap();
    let (dir, _) = package();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for line in deb
        .lines()
        .filter(|line| line.trim_start().starts_with("[\""))
    {
        let file = line.split('"').nth(1).unwrap();
        if file.starts_with("target/release/") {
            continue;
        }
        let path = match file.strip_prefix("../../target/package/") {
            Some("man/*.1") => dir.path().join("package/man/btcfed.1"),
            Some(made) => dir.path().join("package").join(made),
            None => root.join(file),
        };
        assert!(path.is_file(), "{line}");
        named += 1;
    }
    assert!(named > 9, "{named}");
    let made = fs::read_dir(dir.path().join("package")).unwrap().flatten();
    for entry in made.filter(|entry| entry.path().is_file()) {
        let name = entry.file_name().into_string().unwrap();
        assert!(
            deb.contains(&format!("target/package/{name}\"")),
            "{name} is in no package"
        );
    }
}

#[test]
fn the_packaged_configuration_is_good_and_agrees_with_the_unit_about_the_socket() {
    let (dir, package) = package();
    let conf = package.join("conf.yaml");
    let checked = run(
        dir.path(),
        &["config", "check", "--config", conf.to_str().unwrap()],
    );
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let conf = fs::read_to_string(conf).unwrap();
    let unit = fs::read_to_string(package.join("btcfed.service")).unwrap();
    let socket = "/run/btcfed/btcfed.sock";
    assert!(conf.contains(&format!("  socket: {socket}\n")), "{conf}");
    assert!(
        unit.contains(&format!("Environment=BTCFED_ADMIN__SOCKET={socket}\n")),
        "{unit}"
    );
    for line in [
        "WatchdogSec=60s",
        "ExecReload=/usr/bin/btcfed --config /etc/btcfed/conf.yaml reload",
        "Type=notify",
    ] {
        assert!(unit.lines().any(|other| other == line), "{line}");
    }
    // No user can be made on the fly with the name of a group that exists.
    assert!(unit.contains("\nDynamicUser=yes\nUser=btcfed-node\nGroup=btcfed\n"));
    let group = fs::read_to_string(package.join("btcfed.sysusers")).unwrap();
    let modes = fs::read_to_string(package.join("btcfed.tmpfiles")).unwrap();
    assert!(group.contains("g btcfed ") && modes.contains("root btcfed"));
}

#[test]
fn lines_for_tmpfiles_and_sysusers_are_taken_by_systemd() {
    let (dir, package) = package();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    let place = format!("--root={}", root.display());
    let file = |name: &str| package.join(name).display().to_string();
    let (users, modes) = (file("btcfed.sysusers"), file("btcfed.tmpfiles"));
    let Some(made) = tool("systemd-sysusers", &[&place, &users], dir.path()) else {
        return;
    };
    assert!(made.status.success(), "{}", text(&made));
    let groups = fs::read_to_string(root.join("etc/group")).unwrap();
    assert!(
        groups.lines().any(|line| line.starts_with("btcfed:")),
        "{groups}"
    );
    let Some(made) = tool(
        "systemd-tmpfiles",
        &["--create", &place, &modes],
        dir.path(),
    ) else {
        return;
    };
    let told = text(&made);
    let may = made.status.success()
        || told.contains("Operation not permitted")
        || told.contains("Permission denied");
    assert!(may && root.join("etc/btcfed").is_dir(), "{told}");
}

#[test]
fn every_man_page_is_rendered_without_a_warning() {
    let (dir, package) = package();
    let mut pages: Vec<PathBuf> = fs::read_dir(package.join("man"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    pages.sort();
    assert!(pages.len() > 40, "{}", pages.len());
    for page in &pages {
        let Some(shown) = tool(
            "man",
            &["--warnings", "-l", page.to_str().unwrap()],
            dir.path(),
        ) else {
            return;
        };
        let told = String::from_utf8_lossy(&shown.stderr).into_owned();
        assert!(
            shown.status.success() && told.is_empty(),
            "{}: {told}",
            page.display()
        );
        let rendered = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(
            rendered.contains("SYNOPSIS") && rendered.contains("btcfed"),
            "{}",
            page.display()
        );
    }
}

#[test]
fn bash_completes_commands_and_live_names() {
    let (dir, _) = package();
    let line = |words: &str| {
        format!(
            "source package/btcfed.bash; COMP_WORDS=(btcfed {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _btcfed_with_peers btcfed \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        )
    };
    for (words, expected) in [
        ("peers why al", "alice"),
        ("peers approve al", "alice"),
        ("trace al", "alice"),
        ("topology --format s", "svg"),
        ("invite cre", "create"),
    ] {
        let Some(done) = tool("bash", &["-c", &line(words)], dir.path()) else {
            return;
        };
        assert_eq!(text(&done).trim(), expected, "{words}");
    }
}

#[test]
fn fish_completes_commands_and_live_names() {
    let (dir, _) = package();
    for (words, expected) in [
        ("peers why al", "alice"),
        ("topology --format sv", "svg"),
        ("invite cre", "create"),
    ] {
        let line = format!("source package/btcfed.fish; complete -C 'btcfed {words}'");
        let Some(done) = tool("fish", &["-c", &line], dir.path()) else {
            return;
        };
        let told = text(&done);
        assert_eq!(
            told.split_whitespace().next(),
            Some(expected),
            "{words}: {told}"
        );
    }
}

#[test]
fn zsh_completes_commands_and_live_names_in_a_terminal() {
    let (dir, _) = package();
    let script = "\
zmodload zsh/zpty || exit 9
zpty z 'zsh -f -i'
zpty -w z \"PS1=; fpath=($PWD/package \\$fpath); autoload -Uz compinit; compinit -u -D; echo READY\\$((1+1))\"
zpty -r z line '*READY2*'
zpty -n -w z \"btcfed $1\"$'\\t'
zpty -r z line \"*$2*\" && print found
zpty -d z
";
    fs::write(dir.path().join("script"), script).unwrap();
    for (words, expected) in [
        ("peers why al", "alice"),
        ("topology --format sv", "svg"),
        ("invite cre", "create"),
    ] {
        let Some(done) = tool("zsh", &["-f", "script", words, expected], dir.path()) else {
            return;
        };
        assert!(text(&done).contains("found"), "{words}: {}", text(&done));
    }
}
