use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::*;

/// Blocks until it may begin, then passes on what is written.
struct Out {
    begin: Option<Receiver<()>>,
    written: Sender<String>,
}

impl Write for Out {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if let Some(begin) = self.begin.take() {
            let _ = begin.recv();
        }
        let _ = self.written.send(String::from_utf8_lossy(octets).into_owned());
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A queue, and what is written. Writing starts when `begin` says so.
fn queue(begin: Option<Receiver<()>>) -> (Arc<Queue>, Receiver<String>) {
    let (to, written) = channel();
    let queue = Queue::start(Lines::new(Out { begin, written: to }, limits::LOG_OCTETS_QUEUED)).unwrap();
    (queue, written)
}

#[test]
fn an_operator_sees_a_line_at_once() {
    let (queue, written) = queue(None);
    for _ in 0..20 {
        let asked_at = Instant::now();
        queue.push(b"line\n");
        assert_eq!(written.recv_timeout(Duration::from_secs(5)).unwrap(), "line\n");
        assert!(asked_at.elapsed() < Duration::from_secs(1), "{:?}", asked_at.elapsed());
    }
    queue.close();
}

#[test]
fn lines_queued_during_a_rest_are_written_in_order() {
    let (queue, written) = queue(None);
    let expected: String = (0..5000).map(|number| format!("{number}\n")).collect();
    for number in 0..5000 {
        queue.push(format!("{number}\n").as_bytes());
    }
    queue.close();
    assert_eq!(written.try_iter().collect::<String>(), expected);
}

#[test]
fn lines_of_several_threads_are_whole_and_batched() {
    let (queue, written) = queue(None);
    thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            let (queue, line) = (&queue, format!("{name} {name}\n"));
            scope.spawn(move || (0..2000).for_each(|_| queue.push(line.as_bytes())));
        }
    });
    queue.close();
    let writes: Vec<String> = written.try_iter().collect();
    assert!(writes.len() < 3000, "{} writes for 6000 lines", writes.len());
    let text = writes.concat();
    for name in ["one", "two", "three"] {
        assert_eq!(text.lines().filter(|line| *line == format!("{name} {name}")).count(), 2000);
    }
    assert_eq!(text.lines().count(), 6000);
}

#[test]
fn a_stuck_pager_blocks_nobody_and_its_lines_are_counted() {
    let (begin, begun) = channel();
    let (queue, written) = queue(Some(begun));
    let line = [&*vec![b'x'; 1023], b"\n"].concat();
    queue.push(&line);
    // The thread has taken the line, and is now stuck.
    while !queue.lock().text.is_empty() {
        thread::yield_now();
    }
    let room = limits::LOG_OCTETS_QUEUED / line.len();
    for _ in 0..room + 10 {
        queue.push(&line);
    }
    queue.push(b"short, but after those\n");
    begin.send(()).unwrap();
    while queue.lock().lost > 0 {
        thread::yield_now();
    }
    queue.push(b"after\n");
    queue.close();
    let text: String = written.try_iter().collect();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + room + 2);
    let told = lines[1 + room];
    assert!(told.ends_with(" ERRO lines of the log were lost, count: 11"), "{told}");
    assert_eq!(lines[2 + room], "after");
}

#[test]
fn a_line_too_long_for_any_queue_is_told_of_at_once() {
    let (queue, written) = queue(None);
    queue.push(&vec![b'x'; limits::LOG_OCTETS_QUEUED + 1]);
    let told = written.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(told.ends_with("count: 1\n"), "{told}");
    queue.close();
}

#[test]
fn closing_skips_the_rest_and_gives_up_a_stuck_pager() {
    let (begin, begun) = channel();
    let (stopped, _written) = queue(Some(begun));
    stopped.push(b"line\n");
    let asked_at = Instant::now();
    stopped.close();
    assert!(asked_at.elapsed() < limits::LOG_CLOSE_MAX + Duration::from_secs(5), "{:?}", asked_at.elapsed());
    drop(begin);
    let (idle, _written) = queue(None);
    let asked_at = Instant::now();
    idle.close();
    assert!(asked_at.elapsed() < Duration::from_secs(1), "{:?}", asked_at.elapsed());
}

#[test]
fn the_thread_is_woken_once_and_only_when_asleep() {
    let (queue, written) = queue(None);
    queue.push(b"first\n");
    written.recv_timeout(Duration::from_secs(5)).unwrap();
    // The thread sleeps only after a rest during which nothing came, and it has written the lines
    // before.
    while !queue.lock().asleep {
        thread::yield_now();
    }
    assert!(written.try_recv().is_err());
    queue.push(b"second\n");
    assert!(!queue.lock().asleep, "it is being woken, once");
    queue.close();
    assert_eq!(written.try_iter().collect::<String>(), "second\n");
}
