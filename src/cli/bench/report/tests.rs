use super::*;

fn micros(times: impl IntoIterator<Item = u64>) -> Vec<Duration> {
    times.into_iter().map(Duration::from_micros).collect()
}

#[test]
fn percentiles_are_times_that_were_measured() {
    let of_hundred = Percentiles::of(&mut micros((1..=100).rev()));
    assert_eq!(of_hundred, Percentiles { p50: 50, p90: 90, p99: 99, max: 100 });
    assert_eq!(Percentiles::of(&mut micros([7])), Percentiles { p50: 7, p90: 7, p99: 7, max: 7 });
    assert_eq!(Percentiles::of(&mut []), Percentiles::default());
}

#[test]
fn ever_new_failure_reasons_fill_no_memory() {
    let mut record = Record::default();
    for number in 0..1000 {
        record.failed(format!("ERROR 0 \"{number}\""), Exit::Refused);
    }
    record.failed("Too many open files".to_owned(), Exit::Failed);
    assert_eq!(record.failures.len(), limits::BENCH_REASONS_MAX + 1);
    assert_eq!(record.failures.values().sum::<u64>(), 1001);
    assert_eq!(record.exit, Some(Exit::Failed), "the least code wins");
}
