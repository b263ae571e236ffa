//! Who is let in: the file of `--access`.

use std::{net::SocketAddr, path::Path};

use kazoo_storage::{AccessRules, SharedAccessRules};

use crate::{
    cli::ServeOptions,
    files,
    log::{self, Mount},
};

/// The rules of `--access`, which suit the `mount`; none if there is no such file and none is needed.
pub(crate) fn rules(options: &ServeOptions, mount: &Mount) -> Result<Option<SharedAccessRules>, String> {
    if let Some(path) = &options.access {
        return Ok(Some(SharedAccessRules::new(read(path, mount)?)));
    }
    if options.allow_anyone || is_loopback(options.listen) {
        return Ok(None);
    }
    let address = options.listen;
    Err(format!(
        "--listen {address} lets anyone who reaches it store and fetch everything; say with --access FILE who may, or with \
         --allow-anyone that it shall be so"
    ))
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn read(path: &Path, mount: &Mount) -> Result<AccessRules, String> {
    let shown = path.display();
    let text = files::read_text(path).map_err(|error| format!("cannot read --access {shown}: {error}"))?;
    let rules = AccessRules::from_json(&text).map_err(|error| format!("--access {shown}: {}", log::chain(&error)))?;
    mount.suits(&rules)?;
    Ok(rules)
}

/// Reads the file of `--access` again. If it is wrong, nothing changes.
pub(crate) fn reload(options: &ServeOptions, rules: &SharedAccessRules, mount: &Mount) -> Result<(), String> {
    if let Some(path) = &options.access {
        rules.replace(read(path, mount)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn rules_of(options: &[&str]) -> Result<Option<SharedAccessRules>, String> {
        let arguments = ["kazoo-storage", "serve"].iter().chain(options);
        let Command::Serve(options) = Cli::parse_from(arguments).command else {
            panic!("not `serve`")
        };
        rules(&options, &Mount::new(None, None).unwrap())
    }

    #[test]
    fn whoever_listens_beyond_loopback_says_who_is_let_in() {
        for loopback in ["127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(rules_of(&["--listen", loopback]).unwrap().is_none(), "{loopback}");
        }
        for public in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            assert!(rules_of(&["--listen", public]).is_err(), "{public}");
            assert!(
                rules_of(&["--listen", public, "--allow-anyone"]).unwrap().is_none(),
                "{public}"
            );
        }
    }
}
