//! What `systemextensionsctl list` prints.

/// One line of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// `driver_extension`, `network_extension`, `endpoint_security`, ...
    pub category: String,
    /// The user or a profile allows it.
    pub enabled: bool,
    /// It is the one of its id that runs.
    pub active: bool,
    /// Developer's team.
    pub team: String,
    /// Bundle id.
    pub id: String,
    /// Short version and build with a slash between them.
    pub version: String,
    /// Display name.
    pub name: String,
    /// Words in the brackets, e.g. `activated enabled`.
    pub state: String,
}

impl Extension {
    /// Allowed and running.
    pub fn runs(&self) -> bool {
        self.state == "activated enabled"
    }

    /// Installed, and the user has not said yes.
    pub fn waits_for_user(&self) -> bool {
        self.state == "activated waiting for user"
    }

    /// Installed and switched off in the settings.
    pub fn is_disabled(&self) -> bool {
        self.state == "activated disabled"
    }

    /// Deactivated or replaced, and still there until the Mac restarts.
    pub fn waits_for_reboot(&self) -> bool {
        self.state.starts_with("terminated waiting to uninstall") || self.state.ends_with("on reboot")
    }
}

/// Reads the output. Lines that are none of the table are skipped: macOS 15 and later put hints into headings.
pub fn parse(output: &str) -> Vec<Extension> {
    let mut category = String::new();
    let mut found = Vec::new();
    for line in output.lines() {
        if let Some(rest) = line.strip_prefix("--- ") {
            let word = rest.split_whitespace().next().unwrap_or("");
            category = word.rsplit('.').next().unwrap_or("").to_owned();
        } else if let Some(mut extension) = parse_line(line) {
            extension.category.clone_from(&category);
            found.push(extension);
        }
    }
    found
}

fn parse_line(line: &str) -> Option<Extension> {
    if line.starts_with("enabled") {
        return None; // the heading of the columns
    }
    let (rest, state) = line.trim_end().strip_suffix(']')?.rsplit_once('[')?;
    let (before, version) = rest.split_once(" (")?;
    let (version, name) = version.split_once(')')?;
    // With tabs an empty column is nothing between two of them; pasted with blanks only the words are left.
    let (enabled, active, words) = if before.contains('\t') {
        let mut columns = before.splitn(3, '\t');
        let (enabled, active) = (columns.next()?.trim() == "*", columns.next()?.trim() == "*");
        (enabled, active, columns.next()?.split_whitespace().collect::<Vec<_>>())
    } else {
        let words: Vec<&str> = before.split_whitespace().collect();
        let stars = words.iter().take_while(|word| **word == "*").count();
        (stars > 0, stars > 1, words.into_iter().skip(stars).collect())
    };
    let [team, id] = words.as_slice() else { return None };
    Some(Extension {
        category: String::new(),
        enabled,
        active,
        team: (*team).to_owned(),
        id: (*id).to_owned(),
        version: version.to_owned(),
        name: name.trim().to_owned(),
        state: state.to_owned(),
    })
}

/// Is developer mode on? From `systemextensionsctl developer`; `None` if the output says neither.
pub fn developer_mode(output: &str) -> Option<bool> {
    let text = output.to_lowercase();
    if text.contains("developer mode is on") {
        Some(true)
    } else if text.contains("developer mode is off") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_table() {
        let eleven = parse(include_str!("../tests/recorded/sysext-11.txt"));
        assert_eq!(eleven.len(), 2);
        assert!(eleven.iter().all(|one| one.category == "driver_extension"));
        assert!(eleven[0].waits_for_user() && !eleven[0].enabled && eleven[0].active);
        assert!(eleven[1].runs() && eleven[1].team == "G43BCU2T37" && eleven[1].version == "1.6.0/1.6.0");

        let twelve = parse(include_str!("../tests/recorded/sysext-12.txt"));
        assert_eq!(twelve.len(), 3, "an empty line after the count");
        assert!(twelve[1].waits_for_user() && twelve[1].category == "driver_extension");
        assert_eq!(twelve[2].category, "endpoint_security");

        let thirteen = parse(include_str!("../tests/recorded/sysext-13-pasted.txt"));
        assert_eq!(thirteen.len(), 2, "blanks instead of tabs");
        assert!(thirteen[0].waits_for_reboot() && !thirteen[0].enabled);
        assert!(thirteen[1].runs() && thirteen[1].enabled && thirteen[1].active);

        let fourteen = parse(include_str!("../tests/recorded/sysext-14.txt"));
        assert_eq!(fourteen.len(), 3);
        assert_eq!(fourteen[0].name, "LuLu (filter)", "brackets in a name are no version");
        assert!(fourteen[1].waits_for_reboot() && fourteen[2].runs() && fourteen[2].version == "0.2.0/7");

        let fifteen = parse(include_str!("../tests/recorded/sysext-15.txt"));
        assert_eq!(fifteen.len(), 4);
        assert_eq!(fifteen[0].category, "network_extension", "the hint in the heading is no part of it");
        assert_eq!(fifteen[0].name, "Tailscale Network Extension");
        assert!(fifteen[3].is_disabled() && fifteen[3].category == "driver_extension");

        assert_eq!(parse(include_str!("../tests/recorded/sysext-26.txt")).len(), 3);
        assert_eq!(parse("0 extension(s)\n"), []);
        assert_eq!(parse("garbage [x]\n*\t*\t\n(]\n"), []);
    }

    #[test]
    fn developer() {
        assert_eq!(developer_mode("Developer mode is on\n"), Some(true));
        assert_eq!(developer_mode("Developer mode is off\n"), Some(false));
        assert_eq!(developer_mode("At this time, this tool cannot be used\n"), None);
    }
}
