//! What is said of the time that a training takes on this machine.

use std::time::Duration;

use riad::{FasterTraining, speed::in_short};

/// What is said of a training of which so much is to come, of which `left` of a budget is left, and what would be done sooner.
/// `option` sets the size of its images.
pub(crate) fn told(to_come: Duration, left: Option<Duration>, faster: Option<FasterTraining>, option: &str) -> String {
    let mut text = format!("this takes about {} on this machine", in_short(to_come));
    if let Some(left) = left.filter(|left| *left < to_come) {
        text += &format!(", and --max-time stops it after {}", in_short(left));
    } else if let Some(FasterTraining { preset, size, time, .. }) = faster {
        let size = if size.height == size.width {
            size.width.to_string()
        } else {
            size.to_string()
        };
        let time = in_short(time);
        text += &format!("; start another run with --preset {preset} {option} {size} to be done in about {time}");
    }
    text
}

#[cfg(test)]
mod tests {
    use riad_model::{Preset, ScoringSettings, TrainConfig};

    use super::*;

    #[test]
    fn what_is_done_sooner_is_named_with_its_options() {
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        assert_eq!(
            told(Duration::from_secs(125), None, None, "--size"),
            "this takes about 2m 5s on this machine"
        );
        assert_eq!(
            told(hours(3), Some(Duration::from_secs(60)), None, "--size"),
            "this takes about 3h 0m on this machine, and --max-time stops it after 1m 0s"
        );
        let faster = |height, width| {
            let settings = ScoringSettings::for_size(height, width);
            FasterTraining::than(&TrainConfig::published(Preset::Tiny.architecture(), settings), hours(2))
        };
        assert_eq!(
            told(hours(2), None, faster(256, 256), "--size"),
            "this takes about 2h 0m on this machine; start another run with --preset tiny --size 128 to be done in about 30m 0s"
        );
        assert!(told(hours(2), None, faster(128, 512), "--tile").contains("with --preset tiny --tile 64x256 to be"));
    }
}
