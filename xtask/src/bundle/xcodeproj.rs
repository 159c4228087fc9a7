//! `cargo xtask bundle --xcodeproj`: a project for reading and debugging in Xcode. Its target runs the same command.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::config::Config;
use super::glue;

/// Object ids are 24 hexadecimal digits; ours count.
fn id(number: usize) -> String {
    format!("{:024X}", 0x5745_4952_0000 + number)
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes `Weir.xcodeproj` into `root`.
///
/// # Errors
/// A file cannot be written.
pub fn write(config: &Config, root: &Path) -> Result<()> {
    let mut files = Vec::new();
    for (dir, extensions) in [("dext", &["cpp", "h"][..]), ("iig", &["iig"]), ("entitlements", &["entitlements"])] {
        for extension in extensions {
            for path in glue::sources(&root.join(dir), extension)? {
                files.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
            }
        }
    }
    files.extend(["Info.plist", "cli/mac/App-Info.plist", "weir.toml"].map(str::to_owned));
    let project = root.join("Weir.xcodeproj");
    std::fs::create_dir_all(&project)?;
    let path = project.join("project.pbxproj");
    std::fs::write(&path, text(config, &files))?;
    println!("{}: open it and build; its target runs `cargo xtask bundle`", project.display());
    Ok(())
}

fn kind(file: &str) -> &'static str {
    match file.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "cpp" => "sourcecode.cpp.cpp",
        "h" => "sourcecode.c.h",
        "iig" => "sourcecode.iig",
        "plist" => "text.plist.xml",
        "entitlements" => "text.plist.entitlements",
        _ => "text",
    }
}

fn text(config: &Config, files: &[String]) -> String {
    let mut objects = String::new();
    let mut children = String::new();
    for (index, file) in files.iter().enumerate() {
        let (id, kind, path) = (id(100 + index), kind(file), quote(file));
        let _ = writeln!(
            objects,
            "\t\t{id} = {{isa = PBXFileReference; lastKnownFileType = {kind}; path = {path}; sourceTree = SOURCE_ROOT; }};"
        );
        let _ = write!(children, "{id}, ");
    }
    let (project, group, target) = (id(1), id(2), id(3));
    let (project_list, target_list, project_build, target_build) = (id(4), id(5), id(6), id(7));
    let _ = write!(
        objects,
        "\t\t{group} = {{isa = PBXGroup; children = ({children}); sourceTree = SOURCE_ROOT; }};\n\
         \t\t{project} = {{isa = PBXProject; attributes = {{LastUpgradeCheck = 1500; }}; \
         buildConfigurationList = {project_list}; compatibilityVersion = \"Xcode 14.0\"; mainGroup = {group}; \
         projectDirPath = \"\"; projectRoot = \"\"; targets = ({target}, ); }};\n\
         \t\t{target} = {{isa = PBXLegacyTarget; buildArgumentsString = \"-lc 'cargo xtask bundle'\"; \
         buildConfigurationList = {target_list}; buildPhases = ( ); buildToolPath = /bin/sh; \
         buildWorkingDirectory = \"$(SRCROOT)\"; dependencies = ( ); name = Weir; \
         passBuildSettingsInEnvironment = 0; productName = {}; }};\n",
        quote(&config.app_id())
    );
    for (list, build) in [(project_list, project_build), (target_list, target_build)] {
        let _ = write!(
            objects,
            "\t\t{build} = {{isa = XCBuildConfiguration; buildSettings = {{DRIVERKIT_DEPLOYMENT_TARGET = {}; \
             SDKROOT = driverkit; }}; name = Debug; }};\n\
             \t\t{list} = {{isa = XCConfigurationList; buildConfigurations = ({build}, ); \
             defaultConfigurationIsVisible = 0; defaultConfigurationName = Debug; }};\n",
            config.minimum_driverkit
        );
    }
    format!(
        "// !$*UTF8*$!\n{{\n\tarchiveVersion = 1;\n\tclasses = {{}};\n\tobjectVersion = 56;\n\tobjects = {{\n{objects}\t}};\n\
         \trootObject = {project};\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_that_is_named_is_there() {
        let config = Config::parse(include_str!("../../../weir.toml")).expect("weir.toml");
        let text = text(&config, &["dext/WeirCore.cpp".into(), "iig/WeirEthernet.iig".into()]);
        let ids: std::collections::BTreeSet<&str> =
            text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == 24).collect();
        assert_eq!(ids.len(), 9);
        for id in ids {
            assert_eq!(text.matches(&format!("\t\t{id} = {{isa")).count(), 1, "{id}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert_eq!(text.matches('(').count(), text.matches(')').count());
    }
}
