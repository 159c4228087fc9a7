//! Versions of macOS, DriverKit and extensions.

use std::cmp::Ordering;

/// Compares versions number by number; a missing number is 0, what is no number compares as text.
pub fn compare(left: &str, right: &str) -> Ordering {
    let mut left = left.split('.');
    let mut right = right.split('.');
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (a, b) => {
                let (a, b) = (a.unwrap_or("0"), b.unwrap_or("0"));
                match (a.parse::<u64>(), b.parse::<u64>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    _ => a.cmp(b),
                }
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Compares `CFBundleShortVersionString/CFBundleVersion` pairs, as `systemextensionsctl list` has them.
pub fn compare_pair(left: &str, right: &str) -> Ordering {
    let split = |text: &str| {
        let (short, build) = text.split_once('/').unwrap_or((text, "0"));
        (short.to_owned(), build.to_owned())
    };
    let ((short, build), (other_short, other_build)) = (split(left), split(right));
    compare(&short, &other_short).then_with(|| compare(&build, &other_build))
}

/// The DriverKit that came with a macOS.
pub fn driverkit(macos: &str) -> Option<u32> {
    let mut numbers = macos.split('.');
    let major: u32 = numbers.next()?.parse().ok()?;
    match major {
        10 => (numbers.next() == Some("15")).then_some(19),
        11..=15 => Some(major + 9),
        // From 26 on macOS has the year's number; DriverKit counts on.
        26.. => Some(major - 1),
        _ => None,
    }
}

/// Where a Mac's user allows a driver extension.
pub fn settings_path(macos: &str) -> &'static str {
    match macos.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(15..) => "System Settings > General > Login Items & Extensions > Driver Extensions",
        Some(13 | 14) => "System Settings > Privacy & Security > Security",
        _ => "System Preferences > Security & Privacy > General",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_not_text() {
        assert_eq!(compare("1.10.0", "1.9"), Ordering::Greater);
        assert_eq!(compare("1.0", "1.0.0"), Ordering::Equal);
        assert_eq!(compare_pair("1.0/9", "1.0/10"), Ordering::Less);
        assert_eq!(compare_pair("2.0/1", "1.9/99"), Ordering::Greater);
        assert_eq!(compare_pair("1.0", "1.0/0"), Ordering::Equal);
    }

    #[test]
    fn systems() {
        let known =
            [("10.15.7", 19), ("11.6", 20), ("12.0.1", 21), ("13.5.2", 22), ("14.2.1", 23), ("15.3", 24), ("26.0", 25)];
        for (macos, kit) in known {
            assert_eq!(driverkit(macos), Some(kit), "{macos}");
        }
        assert_eq!(driverkit("10.14"), None);
        assert_eq!(driverkit("16"), None);
        assert!(settings_path("12.1").starts_with("System Preferences"));
        assert!(settings_path("14.0").contains("Privacy"));
        assert!(settings_path("26.1").contains("Login Items"));
    }
}
