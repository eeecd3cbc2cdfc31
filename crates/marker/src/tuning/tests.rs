use super::*;

fn world(variables: &[(&str, &str)]) -> World {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    World::new(variables, "/")
}

/// Settings of this version on this device in this environment.
struct Bench {
    version: &'static str,
    device: Device,
    nvidia: bool,
    variables: &'static [(&'static str, &'static str)],
}

const USUAL: Bench = Bench {
    version: "1.10.2",
    device: Device::Cpu,
    nvidia: false,
    variables: &[],
};

impl Bench {
    fn tune(self, request: &TuningRequest) -> Tuning {
        tune(
            request,
            &Target {
                version: self.version.parse().unwrap(),
                device: self.device,
                nvidia: self.nvidia,
                torch: "2.7.1".parse().ok(),
                python: Path::new("/venv/bin/python"),
                is_pdf: true,
                world: &world(self.variables),
            },
        )
    }
}

fn of(version: &'static str, device: Device) -> Bench {
    Bench {
        version,
        device,
        ..USUAL
    }
}

fn everything() -> TuningRequest {
    TuningRequest {
        multiplier: Some(Multiplier::HALF),
        threads: NonZeroU32::new(4),
        precision: Some("float16".into()),
        allocator: Some("max_split_size_mb:128".into()),
        no_cuda_cache: false,
        text_workers: None,
        ocr_backend: None,
        heap: None,
    }
}

fn named<'a>(tuning: &'a Tuning, word: &str) -> Option<&'a Lever> {
    tuning
        .levers
        .iter()
        .find(|lever| lever.passed_as.word() == word)
}

fn is_set(tuning: &Tuning, name: &str) -> bool {
    tuning
        .variables()
        .iter()
        .any(|(variable, _)| variable == name)
}

#[test]
fn flags_go_to_releases_that_have_them_and_a_file_to_the_others() {
    let new = of("1.10.2", Device::Cpu).tune(&everything());
    assert_eq!(
        new.flags()[..3],
        ["--disable_multiprocessing", "--layout_batch_size", "3"]
    );
    assert_eq!(new.config(), None);

    let old = of("1.6.2", Device::Cpu).tune(&everything());
    assert_eq!(old.flags(), ["--disable_multiprocessing"]);
    assert_eq!(old.config().unwrap()["layout_batch_size"], 3);

    let oldest = of("0.3.10", Device::Cpu).tune(&everything());
    assert_eq!(oldest.flags(), ["--batch_multiplier", "1"]);
    assert!(is_set(&oldest, "LAYOUT_BATCH_SIZE") && is_set(&oldest, "PDFTEXT_CPU_WORKERS"));
    assert_eq!(oldest.config(), None);

    let newest = of("2.0.0", Device::Cpu).tune(&everything());
    assert_eq!(newest.flags(), ["--disable_multiprocessing"]);
    assert!(is_set(&newest, "FAST_LAYOUT_SERVER_MAX_BATCH"));
}

#[test]
fn settings_without_effect_are_listed_and_not_passed() {
    let request = TuningRequest {
        no_cuda_cache: true,
        ..everything()
    };
    let idle = |tuning: &Tuning| -> Vec<String> {
        let idle = tuning
            .levers
            .iter()
            .filter(|lever| lever.effect != Effect::Yes);
        idle.map(|lever| lever.passed_as.to_string()).collect()
    };
    let cpu = USUAL.tune(&request);
    let expected = [
        "TORCH_DTYPE",
        "PYTORCH_CUDA_ALLOC_CONF",
        "PYTORCH_NO_CUDA_MEMORY_CACHING",
    ];
    assert_eq!(idle(&cpu), expected);
    assert!(is_set(&cpu, "OMP_NUM_THREADS") && is_set(&cpu, "MALLOC_ARENA_MAX"));
    assert!(!is_set(&cpu, "TORCH_DTYPE") && !is_set(&cpu, "PYTORCH_CUDA_ALLOC_CONF"));

    // Without a cache there is nothing that the allocator's settings could do.
    let cuda = of("1.10.2", Device::Cuda).tune(&request);
    assert_eq!(idle(&cuda), ["TORCH_DTYPE", "PYTORCH_CUDA_ALLOC_CONF"]);
    let cached = of("1.10.2", Device::Cuda).tune(&everything());
    assert!(is_set(&cached, "PYTORCH_CUDA_ALLOC_CONF"));
}

#[test]
fn by_default_marker_chooses_its_sizes_and_they_are_shown() {
    let tuning = USUAL.tune(&TuningRequest::default());
    assert_eq!(tuning.flags(), ["--disable_multiprocessing"]);
    let layout = named(&tuning, "--layout_batch_size").unwrap();
    assert_eq!((layout.value.as_str(), layout.set_by), ("6", SetBy::Marker));
    assert_eq!(named(&tuning, "--highres_image_dpi").unwrap().value, "192");

    let cuda = |request: &TuningRequest| of("1.10.2", Device::Cuda).tune(request);
    assert_eq!(cuda(&TuningRequest::default()).layout_batch(), 12);
    assert_eq!(cuda(&everything()).layout_batch(), 6);
}

#[test]
fn the_users_environment_stays_and_what_it_cannot_do_is_said() {
    let bench = Bench {
        variables: &[
            ("MALLOC_ARENA_MAX", "8"),
            ("LAYOUT_BATCH_SIZE", "1"),
            ("FONT_PATH", "/font.ttf"),
        ],
        ..USUAL
    };
    let tuning = bench.tune(&everything());
    let heap = named(&tuning, "MALLOC_ARENA_MAX").unwrap();
    assert_eq!(
        (heap.value.as_str(), heap.set_by),
        ("8", SetBy::Environment)
    );
    assert!(!is_set(&tuning, "MALLOC_ARENA_MAX") && !is_set(&tuning, "FONT_PATH"));
    let idle = named(&tuning, "LAYOUT_BATCH_SIZE").unwrap();
    assert!(matches!(idle.effect, Effect::No { .. }));
}

#[test]
fn sizes_in_the_environment_win_where_they_are_read() {
    let variables = &[("RECOGNITION_BATCH_SIZE", "2")];
    let bench = Bench {
        version: "0.3.10",
        variables,
        ..USUAL
    };
    let tuning = bench.tune(&everything());
    let recognition = named(&tuning, "RECOGNITION_BATCH_SIZE").unwrap();
    let found = (
        recognition.value.as_str(),
        recognition.set_by,
        &recognition.effect,
    );
    assert_eq!(found, ("2", SetBy::Environment, &Effect::Yes));
    assert!(!is_set(&tuning, "RECOGNITION_BATCH_SIZE") && is_set(&tuning, "LAYOUT_BATCH_SIZE"));
}

#[test]
fn freed_memory_is_left_to_the_c_library_and_given_back_again() {
    let kept = TuningRequest {
        heap: Some(Heap::Kept),
        ..everything()
    };
    let heap = [
        "MALLOC_ARENA_MAX",
        "MALLOC_TRIM_THRESHOLD_",
        "MALLOC_MMAP_THRESHOLD_",
    ];
    let left = USUAL.tune(&kept);
    assert_eq!(left.heap(), Heap::Kept);
    for name in heap {
        assert!(!is_set(&left, name), "{name}");
        let lever = named(&left, name).unwrap();
        let expected = ("the C library's own", SetBy::Marker);
        assert_eq!((lever.value.as_str(), lever.set_by), expected);
    }
    assert_eq!(left.clone().with_heap(Heap::Kept), left);
    // As if it had never been left.
    let usual = USUAL.tune(&everything());
    assert_eq!(usual.heap(), Heap::GivenBack);
    assert_eq!(left.with_heap(Heap::GivenBack), usual);
    // What the user has set stays in any case.
    let theirs = Bench {
        variables: &[("MALLOC_ARENA_MAX", "8")],
        ..USUAL
    };
    let given_back = theirs.tune(&kept).with_heap(Heap::GivenBack);
    assert!(!is_set(&given_back, heap[0]) && is_set(&given_back, heap[1]));
}

fn by_hand(bench: Bench, line: &str) -> Result<(Tuning, Vec<OsString>), ByHandError> {
    let version = bench.version.parse().unwrap();
    let mut tuning = bench.tune(&everything());
    let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let rest = tuning.take_by_hand(&args, version)?;
    Ok((tuning, rest))
}

#[test]
fn options_written_out_win_and_are_handed_on_as_the_release_wants_it() {
    let line = "--force_ocr --layout_batch_size 2 --highres_image_dpi=150 --langs en";
    let (tuning, rest) = by_hand(of("1.10.2", Device::Cpu), line).unwrap();
    assert_eq!(rest, ["--force_ocr", "--langs", "en"]);
    assert_eq!(
        named(&tuning, "--layout_batch_size").unwrap().set_by,
        SetBy::Hand
    );
    assert_eq!(tuning.layout_batch(), 2);
    let flags = tuning.flags();
    assert!(
        flags
            .windows(2)
            .any(|pair| pair == ["--highres_image_dpi", "150"])
    );
    assert_eq!(
        tuning.deciding().collect::<Vec<_>>(),
        ["--highres_image_dpi=150"]
    );

    // Its own flags crash there.
    let (tuning, rest) = by_hand(of("1.6.2", Device::Cpu), "--recognition_batch_size 7").unwrap();
    assert!(rest.is_empty());
    assert_eq!(tuning.config().unwrap()["recognition_batch_size"], 7);

    // There it has none, so marker is to say so.
    let (_, rest) = by_hand(of("2.0.0", Device::Cpu), "--layout_batch_size 2").unwrap();
    assert_eq!(rest, ["--layout_batch_size", "2"]);
    let (tuning, rest) = by_hand(
        of("2.0.0", Device::Cpu),
        "--ocr_error_batch_size 2 --mode balanced",
    )
    .unwrap();
    assert!(rest.is_empty());
    assert_eq!(
        tuning.flags(),
        ["--disable_multiprocessing", "--mode", "balanced"]
    );
}

#[test]
fn both_options_for_text_workers_mean_one_setting() {
    let flags = |version, line| by_hand(of(version, Device::Cpu), line).unwrap().0;
    let two = flags("1.10.2", "--pdftext_workers 2");
    assert_eq!(two.flags()[..2], ["--pdftext_workers", "2"]);
    assert!(!two.flags().contains(&"--disable_multiprocessing".into()));
    let one = flags("1.10.2", "--disable_multiprocessing");
    assert_eq!(one.flags()[0], "--disable_multiprocessing");
    let file = flags("1.2.7", "--pdftext_workers 3");
    assert_eq!(file.config().unwrap()["pdftext_workers"], 3);
}

#[test]
fn values_that_no_setting_has_are_refused() {
    for line in [
        "--layout_batch_size 0.5",
        "--layout_batch_size 0",
        "--layout_batch_size",
        "--highres_image_dpi=x",
    ] {
        assert!(by_hand(USUAL, line).is_err(), "{line}");
    }
    let error = by_hand(USUAL, "--layout_batch_size 0.5").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`0.5` is no value for marker's `--layout_batch_size`"
    );
}

#[test]
fn marker_2_says_where_its_text_recognition_runs() {
    let bench = |nvidia, variables| Bench {
        version: "2.0.0",
        nvidia,
        variables,
        ..USUAL
    };
    let plain = TuningRequest::default();
    assert_eq!(USUAL.tune(&plain).ocr_backend(), None);
    let backend = |bench: Bench, request| bench.tune(request).ocr_backend();
    assert_eq!(
        backend(bench(false, &[]), &plain),
        Some(OcrBackend::LlamaCpp)
    );
    // Neither of these keeps it from the container.
    let hidden: &[_] = &[("TORCH_DEVICE", "cpu"), ("CUDA_VISIBLE_DEVICES", "")];
    assert_eq!(backend(bench(true, hidden), &plain), Some(OcrBackend::Vllm));
    let theirs: &[_] = &[("SURYA_INFERENCE_BACKEND", "llamacpp")];
    assert_eq!(
        backend(bench(true, theirs), &plain),
        Some(OcrBackend::LlamaCpp)
    );
    let asked = TuningRequest {
        ocr_backend: Some(OcrBackend::LlamaCpp),
        ..TuningRequest::default()
    };
    let old = USUAL.tune(&asked);
    assert_eq!(old.ocr_backend(), None);
    assert!(!is_set(&old, "SURYA_INFERENCE_BACKEND"));
    let told = old.levers.iter().find(|lever| lever.value == "llamacpp");
    assert!(matches!(told.unwrap().effect, Effect::No { .. }));
    let tuning = bench(true, hidden).tune(&asked);
    assert_eq!(tuning.ocr_backend(), Some(OcrBackend::LlamaCpp));
    assert!(is_set(&tuning, "SURYA_INFERENCE_BACKEND") && is_set(&tuning, "FAST_DETECTOR_DEVICE"));
}

#[test]
fn a_font_is_not_downloaded_for_a_pdf() {
    let font = |version| {
        is_set(
            &of(version, Device::Cpu).tune(&TuningRequest::default()),
            "FONT_PATH",
        )
    };
    assert!(!font("1.5.5") && font("1.6.0") && font("2.0.0"));
}
