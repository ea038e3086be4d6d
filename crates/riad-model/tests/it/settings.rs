//! What settings are refused, and what follows from a size.

use riad_model::{LossWeights, Method, ScoringSettings, Similarity, TrainConfig};

#[test]
fn what_maps_average_over_keeps_its_share_of_the_image() {
    assert_eq!(ScoringSettings::for_size(256, 256), ScoringSettings::default());
    let sizes = [(64, 64), (128, 128), (512, 512), (1024, 1024), (128, 400), (400, 128)];
    let smoothing = sizes.map(|(height, width)| ScoringSettings::for_size(height, width).smoothing);
    assert_eq!(smoothing, [5, 11, 43, 85, 11, 11]);
    let sizes = [
        (16, 16),
        (63, 64),
        (64, 64),
        (128, 128),
        (255, 300),
        (512, 512),
        (128, 400),
        (400, 128),
    ];
    let scales = sizes.map(|(height, width)| ScoringSettings::for_size(height, width).scales);
    assert_eq!(scales, [1, 1, 2, 3, 3, 4, 3, 3]);
}

#[test]
fn losses_are_read_from_their_terms() {
    let weights = |text: &str| {
        text.parse::<LossWeights>().map(
            |LossWeights {
                 l2, l1, ssim, msgms, ..
             }| [l2, l1, ssim, msgms],
        )
    };
    assert_eq!(weights("riad").unwrap(), [1.0, 0.0, 1.0, 1.0]);
    assert_eq!(weights("msgms+ssim+l2").unwrap(), [1.0, 0.0, 1.0, 1.0]);
    assert_eq!(weights("l1").unwrap(), [0.0, 1.0, 0.0, 0.0]);
    for wrong in ["", "l3", "l2+", "l2 + ssim"] {
        assert!(
            weights(wrong)
                .unwrap_err()
                .to_string()
                .contains("not a term of the loss"),
            "{wrong}"
        );
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    assert!(ScoringSettings::default().check().is_ok());
    let refused = |change: &dyn Fn(&mut ScoringSettings)| {
        let mut settings = ScoringSettings::default();
        change(&mut settings);
        assert!(settings.check().is_err(), "{settings:?}");
    };
    refused(&|settings| settings.height = 15);
    refused(&|settings| settings.width = 0);
    refused(&|settings| settings.width = usize::MAX);
    refused(&|settings| settings.region_sizes = vec![0]);
    refused(&|settings| settings.region_sizes = vec![usize::MAX]);
    refused(&|settings| settings.region_sizes = vec![2; 65]);
    refused(&|settings| settings.sets = 0);
    refused(&|settings| settings.sets = usize::MAX);
    refused(&|settings| settings.smoothing = 4);
    refused(&|settings| settings.smoothing = 0);
    refused(&|settings| settings.scales = 0);
    refused(&|settings| settings.scales = 5);
    refused(&|settings| settings.normalisation.deviation = 0.0);
    refused(&|settings| settings.normalisation.mean = f32::NAN);
}

/// They may come from a file, and no mask is dealt to find out whether one can be: these would take 268 million cells each.
#[test]
fn the_largest_settings_are_checked_without_dealing_masks() {
    let mut settings = ScoringSettings::default();
    (settings.height, settings.width, settings.region_sizes) = (16384, 16384, vec![1; 64]);
    for _ in 0..1000 {
        settings.check().unwrap();
    }
}

#[test]
fn runs_that_cannot_be_are_refused() {
    let published = || TrainConfig::published(Method::RIAD.architecture(2), ScoringSettings::default());
    assert!(published().check().is_ok());
    let refused = |change: &dyn Fn(&mut TrainConfig)| {
        let mut config = published();
        change(&mut config);
        assert!(config.check().is_err(), "{config:?}");
    };
    refused(&|config| config.epochs = 0);
    refused(&|config| config.epochs = usize::MAX);
    refused(&|config| config.batch_size = 1 << 62);
    refused(&|config| config.patience = 0);
    refused(&|config| config.architecture.width = 1 << 62);
    refused(&|config| config.architecture = config.architecture.with_channels(0));
    refused(&|config| config.learning_rate = f64::NAN);
    refused(&|config| config.weight_decay = -1.0);
    refused(&|config| config.loss.l2 = f32::INFINITY);
}

/// One spelling on the command line, in checkpoints and in exported files.
#[test]
fn similarities_have_one_spelling() {
    for (similarity, name) in [
        (Similarity::GmsGrey, "gms-grey"),
        (Similarity::GmsColour, "gms-colour"),
        (Similarity::Ssim, "ssim"),
        (Similarity::L2, "l2"),
    ] {
        assert_eq!(similarity.to_string(), name);
        assert_eq!(name.parse::<Similarity>().unwrap(), similarity);
        let json = serde_json::to_string(&similarity).unwrap();
        assert_eq!(json, format!("{name:?}"));
        assert_eq!(serde_json::from_str::<Similarity>(&json).unwrap(), similarity);
    }
    assert!(
        "gms"
            .parse::<Similarity>()
            .unwrap_err()
            .to_string()
            .contains("gms-colour, gms-grey")
    );
    assert!(serde_json::from_str::<Similarity>("\"grey\"").is_err());
}
