//! What `ioreg -l -w 0` prints: a tree of services with their properties.

use std::collections::BTreeMap;

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name before the angle brackets, without the location.
    pub name: String,
    /// Kernel's class.
    pub class: String,
    /// Registry entry id.
    pub id: String,
    /// `!matched`, `!active` and the like are left out; `registered`, `matched`, `active` are in.
    pub flags: Vec<String>,
    /// Distance from the root, in levels.
    pub depth: usize,
    /// Values as printed, quotes off.
    pub properties: BTreeMap<String, String>,
}

impl Node {
    /// A property's text; empty if it is absent.
    pub fn property(&self, key: &str) -> &str {
        self.properties.get(key).map_or("", String::as_str)
    }

    /// Matched by a driver and not going away.
    pub fn is_active(&self) -> bool {
        self.flags.iter().any(|flag| flag == "active")
    }
}

/// Reads the output, in its order; children follow their parent with a greater depth.
pub fn parse(output: &str) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for line in output.lines() {
        if let Some((indent, rest)) = line.split_once("+-o ") {
            nodes.push(parse_head(indent.len() / 2, rest));
        } else if let (Some((key, value)), Some(node)) = (parse_property(line), nodes.last_mut()) {
            node.properties.insert(key, value);
        }
    }
    nodes
}

fn parse_head(depth: usize, text: &str) -> Node {
    let (name, brackets) = text.split_once("  <").or_else(|| text.split_once(" <")).unwrap_or((text, ""));
    let mut node = Node { depth, ..Node::default() };
    name.split('@').next().unwrap_or("").trim().clone_into(&mut node.name);
    for part in brackets.trim_end().trim_end_matches('>').split(", ") {
        match part.split_once(' ') {
            Some(("class", class)) => class.clone_into(&mut node.class),
            Some(("id", id)) => id.clone_into(&mut node.id),
            None if !part.starts_with('!') && !part.is_empty() => node.flags.push(part.to_owned()),
            _ => {}
        }
    }
    node
}

fn parse_property(line: &str) -> Option<(String, String)> {
    let text = line.trim_start_matches([' ', '|']).strip_prefix('"')?;
    let (key, value) = text.split_once("\" = ")?;
    let value = value.trim();
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    Some((key.to_owned(), bare.to_owned()))
}

/// A NIC of the driver and the interface that the stack made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// The driver's class.
    pub class: String,
    /// What it matched.
    pub provider: String,
    /// `en7`; empty before registration.
    pub bsd_name: String,
    /// Hardware address, as printed.
    pub mac: String,
    /// Running.
    pub active: bool,
    /// Registry entry id.
    pub id: String,
}

/// NICs of the extension `dext`.
pub fn nics(nodes: &[Node], dext: &str) -> Vec<Nic> {
    let mut found = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let ours = [node.property("IOUserServerName"), node.property("CFBundleIdentifier")].contains(&dext);
        if !ours || node.property("IOUserClass").is_empty() || node.class == "IOUserUserClient" {
            continue;
        }
        let below = nodes.iter().skip(index + 1).take_while(|other| other.depth > node.depth);
        let mut nic = Nic {
            class: node.property("IOUserClass").to_owned(),
            provider: node.property("IOProviderClass").to_owned(),
            active: node.is_active(),
            id: node.id.clone(),
            ..Nic::default()
        };
        for child in below {
            for (key, field) in [("BSD Name", &mut nic.bsd_name), ("IOMACAddress", &mut nic.mac)] {
                if field.is_empty() {
                    child.property(key).clone_into(field);
                }
            }
        }
        if nic.mac.is_empty() {
            node.property("IOMACAddress").clone_into(&mut nic.mac);
        }
        found.push(nic);
    }
    found
}

/// Other drivers on network hardware: bundle ids of what is no part of `dext`, with their interface names.
pub fn others(nodes: &[Node], dext: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let id = node.property("CFBundleIdentifier");
        // Families make the interface object of every driver, ours included.
        if id.is_empty() || id == dext || id.starts_with("com.apple.iokit.") {
            continue;
        }
        let below = nodes.iter().skip(index + 1).take_while(|other| other.depth > node.depth);
        let name = below.map(|child| child.property("BSD Name")).find(|name| !name.is_empty());
        if let Some(name) = name
            && !found.iter().any(|(_, other)| other == name)
        {
            found.push((id.to_owned(), name.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_with_its_interface() {
        let nodes = parse(include_str!("../tests/recorded/ioreg-14.txt"));
        let nics = nics(&nodes, "dev.weir.driver");
        assert_eq!(nics.len(), 2);
        assert_eq!(nics[0].bsd_name, "en7");
        assert_eq!(nics[0].class, "WeirEthernet");
        assert_eq!(nics[0].provider, "IOUserResources");
        assert_eq!(nics[0].mac, "<02005e102030>");
        assert!(nics[0].active);
        assert!(nics[1].bsd_name.is_empty() && !nics[1].active, "not registered yet");
        let others = others(&nodes, "dev.weir.driver");
        assert_eq!(others, [("com.apple.driver.usb.cdc.ecm".to_owned(), "en8".to_owned())]);
    }

    #[test]
    fn nonsense_is_no_service() {
        assert_eq!(parse("\n\"a\" = 1\nx\n"), []);
        let odd = parse("+-o a\n  \"x\" = \"y\"\n  \"broken\n");
        assert_eq!(odd[0].property("x"), "y");
        assert_eq!(odd[0].class, "");
    }
}
