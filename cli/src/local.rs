//! Whose frames go out, in a capture that does not say.

use std::collections::HashSet;
use std::net::IpAddr;

use anyhow::{Result, bail};
use weir_core::wire::{self, Family};

/// Whose frames go out.
#[derive(Default)]
pub struct Local {
    mac: HashSet<[u8; 6]>,
    ip: HashSet<IpAddr>,
}

impl Local {
    /// Addresses in words.
    ///
    /// # Errors
    /// The one that is no address.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let mut local = Self::default();
        for text in texts {
            if let Ok(ip) = text.parse::<IpAddr>() {
                local.ip.insert(ip);
                continue;
            }
            let bytes: Option<Vec<u8>> = text.split([':', '-']).map(|part| u8::from_str_radix(part, 16).ok()).collect();
            match bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()) {
                Some(mac) => local.mac.insert(mac),
                None => bail!("--local {text}: neither an IP address nor a MAC address (aa:bb:cc:dd:ee:ff)"),
            };
        }
        Ok(local)
    }

    /// Whether a frame comes from one of them.
    pub fn sent(&self, frame: &[u8]) -> bool {
        if let Some(Ok(mac)) = frame.get(6..12).map(<[u8; 6]>::try_from)
            && self.mac.contains(&mac)
        {
            return true;
        }
        if self.ip.is_empty() {
            return false;
        }
        let parsed = wire::parse(frame);
        match parsed.family {
            Family::V4 => {
                let [a, b, c, d, ..] = parsed.src;
                self.ip.contains(&IpAddr::from([a, b, c, d]))
            }
            Family::V6 => self.ip.contains(&IpAddr::from(parsed.src)),
            Family::None => false,
        }
    }
}
