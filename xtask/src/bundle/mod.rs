//! `cargo xtask bundle`: Weir.app with the driver extension inside. On a Mac it is built with Xcode's tools and signed;
//! elsewhere a *check build* is cross-built with our own headers and stubs, which proves all but that macOS loads it.

mod app;
mod apple;
mod config;
mod finding;
mod glue;
mod lint;
mod linux;
mod macho;
mod seal;
mod sign;
mod stubs;
mod template;
mod verify;
mod xcodeproj;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use plist::Dictionary;

pub use config::Variant;

use crate::sh;
use config::Config;
use template::{CHECK_BUILD, Plists};

/// Every Mac that DriverKit 21 or later runs on.
const ARCHS: [&str; 2] = ["arm64", "x86_64"];
/// Newest DriverKit whose headers the glue has been compared with.
const SDK_VERSION: &str = "25.0";
/// LC_BUILD_VERSION's PLATFORM_DRIVERKIT.
const PLATFORM_DRIVERKIT: u32 = 10;
/// Likewise, PLATFORM_MACOS.
const PLATFORM_MACOS: u32 = 1;
/// Largest executable of the extension per architecture, bytes.
const SIZE_LIMIT: u64 = 2 << 20;

/// What the command line says.
#[derive(clap::Args, Clone, Default)]
pub struct BundleArgs {
    /// Inspect a bundle instead of building one; without a path the one that was built last.
    #[arg(long, value_name = "BUNDLE", num_args = 0..=1)]
    verify: Option<Option<PathBuf>>,
    /// Development or release.
    #[arg(long, value_enum, default_value = "development")]
    variant: Variant,
    /// Where the maker's settings are.
    #[arg(long, value_name = "FILE", default_value = "weir.toml")]
    config: PathBuf,
    /// Folder to put Weir.app into.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Check the plists and entitlements and stop.
    #[arg(long)]
    lint: bool,
    /// Write an Xcode project that runs this command, and stop.
    #[arg(long)]
    xcodeproj: bool,
    /// Compile the glue for each version of DriverKit from the oldest to the newest, and stop.
    #[arg(long)]
    matrix: bool,
}

/// What continuous integration does: build, inspect, compile the glue for every version.
///
/// # Errors
/// See [`run`].
pub fn test() -> Result<()> {
    let start = Instant::now();
    let plain = BundleArgs { config: "weir.toml".into(), ..BundleArgs::default() };
    run(&plain)?;
    println!("built in {:.0} s", start.elapsed().as_secs_f64());
    run(&BundleArgs { verify: Some(None), ..plain.clone() })?;
    run(&BundleArgs { matrix: true, ..plain.clone() })?;
    run(&BundleArgs { lint: true, variant: Variant::Release, ..plain })
}

/// The app alone, for both architectures, compiled and linked; [`test`] then finds it done.
///
/// # Errors
/// What a compiler or the linker said.
pub fn test_app() -> Result<()> {
    let config = Config::read(&sh::root().join("weir.toml"))?;
    let work = sh::target_dir().join("bundle-work");
    std::fs::create_dir_all(&work)?;
    for (arch, bytes) in app::build(&config, &work)? {
        println!("{arch}: {} KiB", bytes.len().div_ceil(1024));
    }
    Ok(())
}

/// Builds twice from nothing and compares every file.
///
/// # Errors
/// The first file that differs.
pub fn test_reproducible() -> Result<()> {
    let root = sh::target_dir().join("bundle-twice");
    let mut files: Vec<Vec<(PathBuf, Vec<u8>)>> = Vec::new();
    for name in ["one", "two"] {
        let work = sh::target_dir().join("bundle-work");
        if work.exists() {
            std::fs::remove_dir_all(&work)?;
        }
        let out = root.join(name);
        run(&BundleArgs { config: "weir.toml".into(), out: Some(out.clone()), ..BundleArgs::default() })?;
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(&out).sort_by_file_name() {
            let entry = entry?;
            if entry.file_type().is_file() {
                found.push((entry.path().strip_prefix(&out)?.to_owned(), std::fs::read(entry.path())?));
            }
        }
        files.push(found);
    }
    let [one, two] = files.as_slice() else { bail!("not built twice") };
    for (left, right) in one.iter().zip(two) {
        if left != right {
            bail!("{} differs between two builds of one commit", left.0.display());
        }
    }
    if one.len() != two.len() || one.is_empty() {
        bail!("{} files and {} files", one.len(), two.len());
    }
    println!("{} files, the same byte for byte", one.len());
    Ok(())
}

/// Builds, or inspects, or both.
///
/// # Errors
/// What is missing, what a tool said, or what is wrong with the bundle.
pub fn run(args: &BundleArgs) -> Result<()> {
    let root = sh::root();
    let out = args.out.clone().unwrap_or_else(|| sh::target_dir().join("bundle"));
    if let Some(path) = &args.verify {
        let bundle = path.clone().unwrap_or_else(|| out.join("Weir.app"));
        return verify_and_print(&bundle);
    }
    let config = Config::read(&root.join(&args.config))?;
    if args.xcodeproj {
        return xcodeproj::write(&config, &root);
    }
    if args.matrix {
        return matrix(&config, &sh::target_dir().join("bundle-work"));
    }
    let start = Instant::now();
    let mut plists = template::plists(&config, args.variant)?;
    report(&lint::lint(&plists, &config, args.variant), "plists and entitlements")?;
    if args.lint {
        return Ok(());
    }
    let check = !cfg!(target_os = "macos");
    let work = sh::target_dir().join("bundle-work");
    std::fs::create_dir_all(&work)?;
    if check {
        let text = "Cross-built on another system to be inspected, with stub libraries. macOS does not load it.";
        for info in [&mut plists.dext_info, &mut plists.app_info] {
            info.insert(CHECK_BUILD.to_owned(), text.into());
        }
        template_minimum(&mut plists, &config);
    }
    let app = out.join("Weir.app");
    if app.exists() {
        std::fs::remove_dir_all(&app).with_context(|| format!("cannot replace {}", app.display()))?;
    }
    if check {
        // Side by side: the driver's core is optimised as a whole, on one processor.
        let (command, driver) = std::thread::scope(|scope| {
            let command = scope.spawn(|| app::build(&config, &work));
            let driver = linux::build(&config, &work);
            (command.join(), driver)
        });
        let command = command.map_err(|_| anyhow::anyhow!("the app's build panicked"))??;
        assemble_check(&app, &plists, &config, driver?, command)?;
    } else {
        apple::build(&app, &plists, &config, args.variant, &work)?;
    }
    print_sizes(&app, &config)?;
    println!("{} in {:.1} s", app.display(), start.elapsed().as_secs_f64());
    Ok(())
}

/// dyld and the catalogue look at the executable's version; the key is for people and for Xcode's own checks.
fn template_minimum(plists: &mut Plists, config: &Config) {
    plists.dext_info.insert("OSMinimumDriverKitVersion".to_owned(), config.minimum_driverkit.clone().into());
}

/// How a framework is linked. A NIC's class table names every virtual method of its base, also those that came later
/// than the minimum; the compiler marks the methods themselves as allowed to be absent, but not their thunks. On an
/// older system dyld would stop the driver, so the whole framework may have gaps.
fn link_option(framework: &str) -> &'static str {
    if framework == "NetworkingDriverKit" { "-weak_framework" } else { "-framework" }
}

fn dext_dir(app: &Path, config: &Config) -> PathBuf {
    app.join(format!("Contents/Library/SystemExtensions/{}.dext", config.dext_id()))
}

type Slices = Vec<(&'static str, Vec<u8>)>;

/// Writes a check bundle from unsigned executables, from the inside out: the app's seal covers the extension's files.
fn assemble_check(app: &Path, plists: &Plists, config: &Config, driver: Slices, command: Slices) -> Result<()> {
    let code = |slices, identifier, executable, form, info: &Dictionary, entitlements, root: &Path| -> Result<()> {
        std::fs::create_dir_all(root)?;
        let info_plist = template::xml(info)?;
        std::fs::write(root.join("Info.plist"), &info_plist)?;
        let seal = seal::seal(root, executable, form)?;
        std::fs::create_dir_all(root.join("_CodeSignature"))?;
        std::fs::write(root.join(seal::PATH), &seal)?;
        let bound = sign::Bound { identifier, entitlements, info_plist: &info_plist, seal: &seal };
        let mut signed: Slices = slices;
        for (_, bytes) in &mut signed {
            sign::sign(bytes, &bound)?;
        }
        let path = root.join(executable);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        write_executable(&path, &macho::universal(&signed)?)
    };
    let (dext, id) = (dext_dir(app, config), config.dext_id());
    code(driver, &id, &id, seal::Form::Flat, &plists.dext_info, &plists.dext_entitlements, &dext)?;
    let contents = app.join("Contents");
    let (info, entitlements) = (&plists.app_info, &plists.app_entitlements);
    code(command, &config.app_id(), "MacOS/weir", seal::Form::App, info, entitlements, &contents)
}

fn write_executable(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn print_sizes(app: &Path, config: &Config) -> Result<()> {
    let bytes = std::fs::read(app.join("Contents/MacOS/weir"))?;
    for (arch, _, size) in macho::slices(&bytes)? {
        println!("app {arch}: {} KiB", size.div_ceil(1024));
    }
    let bytes = std::fs::read(dext_dir(app, config).join(config.dext_id()))?;
    for (arch, _, size) in macho::slices(&bytes)? {
        println!("dext {arch}: {} KiB of at most {} KiB", size.div_ceil(1024), SIZE_LIMIT >> 10);
    }
    Ok(())
}

fn report(findings: &finding::Findings, what: &str) -> Result<()> {
    for finding in &findings.0 {
        println!("{finding}");
    }
    if !findings.0.is_empty() {
        bail!("{} defects in {what}", findings.0.len());
    }
    Ok(())
}

fn verify_and_print(bundle: &Path) -> Result<()> {
    let report_of = verify::verify(bundle)?;
    for line in &report_of.facts {
        println!("{line}");
    }
    report(&report_of.findings, &bundle.display().to_string())?;
    println!("{}: no defects", bundle.display());
    Ok(())
}

/// Compiles the glue, and nothing else, for every version of DriverKit from the minimum on.
fn matrix(config: &Config, work: &Path) -> Result<()> {
    let first = config::version(&config.minimum_driverkit).map_or(21, |version| version.0);
    let last = config::version(SDK_VERSION).map_or(25, |version| version.0);
    let sources = glue::generate(work)?;
    for major in first..=last {
        let mut config = config.clone();
        config.minimum_driverkit = format!("{major}.0");
        glue::check(&sources, &mut || linux::clang("arm64", &config))?;
        println!("arm64-apple-driverkit{major}.0: {} files without a warning", sources.files.len());
    }
    Ok(())
}
