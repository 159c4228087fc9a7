fn main() {
    let out = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    let dirs = vec![std::path::PathBuf::from("host/include")];
    if let Err(e) = weir_iig::write_framework(&dirs, &out) { eprintln!("{e}"); std::process::exit(1); }
    let generator = weir_iig::Generator::new(dirs);
    for framework in ["DriverKit", "NetworkingDriverKit"] {
        for entry in std::fs::read_dir(format!("host/include/{framework}")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "iig") {
                let o = generator.framework(&path).unwrap();
                std::fs::write(out.join(format!("{}.iig.cpp", path.file_stem().unwrap().to_string_lossy())), o.source).unwrap();
            }
        }
    }
}
