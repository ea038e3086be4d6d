//! Which test images are shown.

use std::collections::BTreeMap;

use riad_data::TestItem;

/// Most images in a figure.
const ROWS: usize = 12;
/// Good images among them, where there are enough of both.
const GOOD: usize = 3;

/// Chooses what tells most: of every kind of defect the image with the highest and the one with the lowest score, then
/// the next highest; of the good ones the highest, the lowest, and the one in the middle. Gives the images' places in
/// `items`, defects before good ones, kind by kind, the highest score first.
pub(super) fn choose(items: &[TestItem], scores: &[f32]) -> Vec<usize> {
    let mut kinds: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        kinds.entry(item.defect.as_deref()).or_default().push(index);
    }
    for images in kinds.values_mut() {
        images.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    }
    let good = kinds.remove(&None).unwrap_or_default();
    let defects = kinds.values().map(Vec::len).sum::<usize>();
    let good_count = good.len().min(GOOD.max(ROWS.saturating_sub(defects)));

    let mut chosen = Vec::new();
    // Turn by turn each kind gives its highest, then its lowest, then the rest from above.
    let mut queues: Vec<_> = kinds.into_values().map(|images| by_interest(&images)).collect();
    'turns: while queues.iter().any(|queue| !queue.is_empty()) {
        for queue in queues.iter_mut().filter(|queue| !queue.is_empty()) {
            if chosen.len() == ROWS - good_count {
                break 'turns;
            }
            chosen.push(queue.remove(0));
        }
    }
    let order = |index: &usize| {
        (
            items[*index].defect.as_deref(),
            std::cmp::Reverse(scores[*index].to_bits()),
        )
    };
    chosen.sort_by_key(order);
    let mut shown_good: Vec<usize> = by_interest(&good).into_iter().take(good_count).collect();
    shown_good.sort_by_key(order);
    chosen.extend(shown_good);
    chosen
}

/// `sorted` with the last second and the middle third.
fn by_interest(sorted: &[usize]) -> Vec<usize> {
    let mut order = Vec::with_capacity(sorted.len());
    let ends = [0, sorted.len().saturating_sub(1), sorted.len() / 2];
    for at in ends.into_iter().chain(0..sorted.len()) {
        if let Some(image) = sorted.get(at).filter(|image| !order.contains(*image)) {
            order.push(*image);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(defect: Option<&str>) -> TestItem {
        TestItem {
            path: "x.png".into(),
            defect: defect.map(str::to_owned),
            mask: None,
        }
    }

    #[test]
    fn every_kind_shows_its_highest_and_its_lowest() {
        let kinds = [vec![None; 20], vec![Some("cut"); 20], vec![Some("hole"); 20]].concat();
        let items: Vec<_> = kinds.into_iter().map(item).collect();
        let scores: Vec<f32> = (0..60).map(|index| ((index * 7) % 60) as f32 / 60.0).collect();
        let chosen = choose(&items, &scores);
        assert_eq!(chosen.len(), ROWS);
        for range in [0..20, 20..40, 40..60] {
            let of_kind = |a: &usize, b: &usize| scores[*a].total_cmp(&scores[*b]);
            assert!(chosen.contains(&range.clone().max_by(of_kind).unwrap()));
            assert!(chosen.contains(&range.clone().min_by(of_kind).unwrap()));
        }
        assert_eq!(chosen.iter().filter(|&&index| index < 20).count(), GOOD);
    }

    #[test]
    fn few_images_are_all_shown_once() {
        let items: Vec<_> = [None, Some("cut"), None, Some("cut"), None, None].map(item).into();
        let mut chosen = choose(&items, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        assert_eq!(chosen[..2], [3, 1]);
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 1, 2, 3, 4, 5]);
        assert!(choose(&[], &[]).is_empty());
    }
}
