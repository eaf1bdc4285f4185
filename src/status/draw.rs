//! The screen: processors, then partitions; what is wrong comes first and in capitals.

use super::judge::{DigestView, OwnerState, OwnerView, PartitionView, Picture, ProcessorView};
use std::fmt::Write as _;
use track_log::Partition;

/// Where there are more partitions, those that are well are only counted.
const ALL_SHOWN_MAX: usize = 16;
/// Behind by no more than this is well: what processors say is up to a second old.
const WELL_WITHIN_MS: u64 = 2_000;

/// The whole of it, lines with their ends.
pub(super) fn screen(picture: &Picture) -> String {
    let mut screen = headline(picture);
    for contradiction in &picture.contradictions {
        let _ = writeln!(screen, "CONTRADICTION: {contradiction}");
    }
    draw_digests(&mut screen, picture);
    screen.push('\n');
    draw_processors(&mut screen, picture);
    screen.push('\n');
    draw_partitions(&mut screen, picture);
    screen
}

fn headline(picture: &Picture) -> String {
    let all = counted(picture.partitions.len());
    if picture.all_served {
        return format!("{all}, all served\n");
    }
    format!("{all}, {} NOT SERVED: {}\n", picture.not_served.len(), ranges(&picture.not_served))
}

/// Ascending numbers with those in a row drawn together: `0-5, 7`.
fn ranges(numbers: &[Partition]) -> String {
    let in_a_row = numbers.chunk_by(|before, number| before + 1 == *number);
    let ranges = in_a_row.filter_map(|row| match (row.first()?, row.last()?) {
        (first, last) if first == last => Some(first.to_string()),
        (first, last) => Some(format!("{first}-{last}")),
    });
    ranges.collect::<Vec<_>>().join(", ")
}

/// How the comparison of replicas came out, where there was one.
fn draw_digests(screen: &mut String, picture: &Picture) {
    let of = |is_it: fn(&DigestView) -> bool| {
        let partitions = picture.partitions.iter().filter(|partition| partition.digests.iter().any(is_it));
        partitions.map(|partition| partition.partition).collect::<Vec<_>>()
    };
    let compared = of(|digests| digests.equal.is_some());
    let (differ, not_compared) = (of(|digests| digests.equal == Some(false)), of(|digests| digests.equal.is_none()));
    if !differ.is_empty() {
        let _ = writeln!(screen, "REPLICAS DIFFER in partitions {}", ranges(&differ));
    } else if !compared.is_empty() {
        let _ = writeln!(screen, "replicas of {} compared: equal", counted(compared.len()));
    }
    if !not_compared.is_empty() {
        let _ = writeln!(screen, "replicas NOT COMPARED in partitions {}", ranges(&not_compared));
    }
}

fn counted(partitions: usize) -> String {
    if partitions == 1 { "1 partition".to_owned() } else { format!("{partitions} partitions") }
}

fn draw_processors(screen: &mut String, picture: &Picture) {
    if picture.processors.is_empty() {
        screen.push_str("NO PROCESSOR has told of itself within a day\n");
    } else {
        let title = ["PROCESSOR", "REPLICA", "URL", "HEARD", "SERVES", "RESTORES"].map(str::to_owned);
        let lines = picture.processors.iter().map(|processor| {
            let ProcessorView { instance, replica, url, heard_ms_ago, is_silent, serving, restoring } = processor;
            let heard = format!("{}{} ago", if *is_silent { "SILENT, " } else { "" }, time(*heard_ms_ago));
            let (serving, restoring) =
                if *is_silent { (String::new(), String::new()) } else { (serving.to_string(), restoring.to_string()) };
            [instance.clone(), replica.clone().unwrap_or_default(), url.clone(), heard, serving, restoring]
        });
        draw_table(screen, std::iter::once(title).chain(lines).collect());
    }
    if picture.long_gone > 0 {
        let _ = writeln!(screen, "and {} silent for longer than a day", picture.long_gone);
    }
}

fn draw_partitions(screen: &mut String, picture: &Picture) {
    let (all_shown, partitions) = (picture.partitions.len() <= ALL_SHOWN_MAX, picture.partitions.iter());
    let shown: Vec<_> = partitions.clone().filter(|partition| all_shown || is_worth_a_look(partition)).collect();
    if !shown.is_empty() {
        let has_checkpoint =
            |partition: &&PartitionView| partition.owners.iter().any(|it| it.checkpoint_ms_ago.is_some());
        let checkpoint = if shown.iter().any(has_checkpoint) { "CHECKPOINT" } else { "" };
        let title =
            ["PARTITION", "OWNER", "STATE", "APPLIED", "LOG END", "LAG", "BEHIND", checkpoint, ""].map(str::to_owned);
        draw_table(
            screen,
            std::iter::once(title).chain(shown.iter().flat_map(|shown| partition_lines(shown))).collect(),
        );
    }
    let left_out = partitions.filter(|partition| !all_shown && !is_worth_a_look(partition));
    let (well, nobodys): (Vec<_>, Vec<_>) = left_out.partition(|partition| partition.is_served);
    if !well.is_empty() {
        let _ = writeln!(screen, "and {} served, at most {} behind", counted(well.len()), time(WELL_WITHIN_MS));
    }
    if !nobodys.is_empty() {
        let _ = writeln!(screen, "and {} that NOBODY has", counted(nobodys.len()));
    }
}

/// Whether its lines say more than those of the processors and the headline do: somebody restores it, is behind, has
/// another state, or was its last owner.
fn is_worth_a_look(partition: &PartitionView) -> bool {
    let owner_is_well = |owner: &OwnerView| match owner.state {
        OwnerState::Serving => owner.lag_ms.is_some_and(|lag_ms| lag_ms <= WELL_WITHIN_MS),
        OwnerState::Restoring | OwnerState::Leaving => false,
        OwnerState::Silent => partition.is_served,
    };
    !partition.owners.iter().all(owner_is_well) || partition.digests.iter().any(|digests| digests.equal != Some(true))
}

/// A line an owner, or one that says that there is none.
fn partition_lines(view: &PartitionView) -> Vec<[String; 9]> {
    let PartitionView { partition, is_served, log_end, owners, digests, .. } = view;
    let mut name = if *is_served { partition.to_string() } else { format!("{partition} NOT SERVED") };
    if owners.is_empty() {
        let nothing = String::new;
        return vec![[
            name,
            "NOBODY".to_owned(),
            nothing(),
            nothing(),
            log_end.to_string(),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
        ]];
    }
    let line = |owner: &OwnerView| {
        let OwnerView { instance, state, restored_percent, applied, lag_records, lag_ms, checkpoint_ms_ago } = owner;
        let state = match (state, restored_percent) {
            (OwnerState::Serving, _) => "serving".to_owned(),
            (OwnerState::Restoring, Some(percent)) => format!("restoring, {percent} %"),
            (OwnerState::Restoring, None) => "restoring".to_owned(),
            (OwnerState::Leaving, _) => "leaving".to_owned(),
            (OwnerState::Silent, _) => "SILENT".to_owned(),
        };
        let behind = lag_ms.map_or_else(|| "not known".to_owned(), time);
        let checkpoint = checkpoint_ms_ago.map(|ms| format!("{} ago", time(ms))).unwrap_or_default();
        let compared = digests.iter().find(|digests| digests.instances[1] == *instance).map(digest).unwrap_or_default();
        let (applied, log_end, lag) = (applied.to_string(), log_end.to_string(), lag_records.to_string());
        [std::mem::take(&mut name), instance.clone(), state, applied, log_end, lag, behind, checkpoint, compared]
    };
    owners.iter().map(line).collect()
}

fn digest(digests: &DigestView) -> String {
    let [with, _] = &digests.instances;
    match (digests.equal, digests.offset, &digests.error) {
        (Some(true), Some(offset), _) => format!("digest equals {with}'s at {offset}"),
        (Some(false), Some(offset), _) => format!("digest DIFFERS from {with}'s at {offset}"),
        (_, _, error) => format!("digest not compared: {}", error.as_deref().unwrap_or("no answer")),
    }
}

/// Columns as wide as what is in them, two spaces apart.
fn draw_table<const COLUMNS: usize>(screen: &mut String, lines: Vec<[String; COLUMNS]>) {
    let mut widths = [0; COLUMNS];
    for (column, width) in widths.iter_mut().enumerate() {
        *width = lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    }
    for line in &lines {
        let mut drawn = String::new();
        for (cell, width) in line.iter().zip(widths).filter(|(_, width)| *width > 0) {
            let _ = write!(drawn, "{cell:<width$}  ");
        }
        screen.push_str(drawn.trim_end());
        screen.push('\n');
    }
}

/// A time in the unit that a person would say it in.
fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::judge;
    use super::super::judge::tests::{heard, seen};
    use super::*;
    use std::time::Duration;
    use track_log::Bounds;
    use track_proto::v1::PartitionState;

    const SILENT_AFTER: Duration = Duration::from_secs(5);

    #[test]
    fn what_is_wrong_is_loud() {
        let mut picture = judge(&seen(), SILENT_AFTER);
        let compared = |equal: bool| DigestView {
            instances: ["alpha".to_owned(), "beta-b".to_owned()],
            offset: Some(100),
            equal: Some(equal),
            error: None,
        };
        picture.partitions[0].digests.push(compared(true));
        let expected = "\
3 partitions, 2 NOT SERVED: 1-2
replicas of 1 partition compared: equal

PROCESSOR  REPLICA  URL                 HEARD             SERVES  RESTORES
alpha               http://alpha:8082   0.9 s ago         1       1
gamma               http://gamma:8082   SILENT, 42 s ago
beta-b     b        http://beta-b:8082  0.3 s ago         1       0

PARTITION     OWNER   STATE            APPLIED  LOG END  LAG  BEHIND
0             alpha   serving          95       100      5    1.2 s
              beta-b  serving          100      100      0    0.0 s   digest equals alpha's at 100
1 NOT SERVED  alpha   restoring, 50 %  55       100      45   2 h
2 NOT SERVED  gamma   SILENT           60       100      0    0.0 s
";
        assert_eq!(screen(&picture), expected);
        picture.partitions[0].digests = vec![compared(false)];
        let drawn = screen(&picture);
        assert!(drawn.contains("\nREPLICAS DIFFER in partitions 0\n"), "{drawn}");
        assert!(drawn.contains("digest DIFFERS from alpha's at 100\n"), "{drawn}");
    }

    #[test]
    fn who_leaves_is_shown_and_how_old_checkpoints_are() {
        let mut seen = seen();
        seen.bounds.truncate(1);
        let [_, _, alpha] = &mut seen.heard[..] else { unreachable!("there are three") };
        alpha.owner.partitions[0].state = PartitionState::Leaving.into();
        alpha.owner.partitions[0].checkpointed_ms = Some(seen.now_ms - 61_000);
        seen.heard.iter_mut().for_each(|heard| heard.owner.partition_count = 1);
        let drawn = screen(&judge(&seen, SILENT_AFTER));
        let expected = "\
PARTITION  OWNER   STATE    APPLIED  LOG END  LAG  BEHIND  CHECKPOINT
0          alpha   leaving  95       100      5    1.2 s   61 s ago
           beta-b  serving  100      100      0    0.0 s
";
        assert!(drawn.starts_with("1 partition, all served\n") && drawn.ends_with(expected), "{drawn}");
    }

    #[test]
    fn nobody_is_loud_too() {
        let mut seen = seen();
        seen.heard.iter_mut().for_each(|heard| heard.is_gone = true);
        seen.bounds.truncate(1);
        let expected = "\
1 partition, 1 NOT SERVED: 0

NO PROCESSOR has told of itself within a day
and 3 silent for longer than a day

PARTITION     OWNER   STATE  APPLIED  LOG END  LAG  BEHIND
0 NOT SERVED  NOBODY                  100
";
        assert_eq!(screen(&judge(&seen, SILENT_AFTER)), expected);
    }

    #[test]
    fn of_many_partitions_those_are_shown_that_are_worth_a_look() {
        let mut seen = seen();
        seen.bounds = vec![Bounds { start: 0, end: 100 }; 20];
        let serving = (0..18).map(|partition| (partition, PartitionState::Serving, 100 - u64::from(partition == 7)));
        let was_serving = [(3, PartitionState::Serving, 90), (18, PartitionState::Serving, 100)];
        seen.heard =
            vec![heard("alpha", "", 10, &serving.collect::<Vec<_>>()), heard("beta-b", "b", 6_000, &was_serving)];
        seen.heard.iter_mut().for_each(|heard| heard.owner.partition_count = 20);
        let expected = "\
20 partitions, 2 NOT SERVED: 18-19

PROCESSOR  REPLICA  URL                 HEARD              SERVES  RESTORES
alpha               http://alpha:8082   0.0 s ago          18      0
beta-b     b        http://beta-b:8082  SILENT, 6.0 s ago

PARTITION      OWNER   STATE    APPLIED  LOG END  LAG  BEHIND
7              alpha   serving  99       100      1    not known
18 NOT SERVED  beta-b  SILENT   100      100      0    0.0 s
and 17 partitions served, at most 2.0 s behind
and 1 partition that NOBODY has
";
        assert_eq!(screen(&judge(&seen, SILENT_AFTER)), expected);
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        let mut seen = seen();
        seen.bounds.push(Bounds { start: 0, end: 0 });
        let drawn = screen(&judge(&seen, SILENT_AFTER));
        assert!(drawn.contains("\nCONTRADICTION: alpha folds a log of 3 partitions, and there are 4\n"), "{drawn}");
    }

    #[test]
    fn numbers_in_a_row_are_drawn_together() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
    }

    #[test]
    fn times_have_a_unit_that_fits() {
        for (ms, said) in [
            (0, "0.0 s"),
            (1_234, "1.2 s"),
            (59_999, "59 s"),
            (300_000, "5 min"),
            (7_200_000, "2 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(time(ms), said);
        }
    }
}
