//! What every backend must do, as tests: a backend names a function that opens an empty store and gets all of them.

use tokio::runtime::Handle;

use crate::{
    AliasTarget, Change, Error, LocationWriter, Store, StoredBinding, StoredDomain, TableName, WriterSettings,
};

/// Makes one `#[tokio::test]` per case. `$open` is an async function that returns a [`Fixture`].
#[cfg(test)]
macro_rules! battery {
    ($open:path: $($case:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            let fixture = $open().await;
            crate::battery::$case(&fixture.store).await;
        })+
    };
    ($open:path) => {
        crate::battery::battery!($open:
            an_unknown_subscriber_is_none,
            a_subscriber_is_found_whatever_the_case_of_the_domain,
            a_subscriber_is_added_once,
            a_new_password_replaces_every_digest,
            a_removed_subscriber_leaves_nothing,
            the_oldest_of_a_name_answers_for_any_domain,
            subscribers_are_listed_in_pages,
            texts_that_look_like_sql_are_texts,
            an_alias_stands_for_its_targets_in_order,
            domains_are_kept_once,
            a_binding_comes_back_as_it_was_written,
            absent_values_stay_absent,
            a_put_replaces_the_row_of_the_same_ruid,
            changes_apply_in_the_order_of_submission,
            a_long_submission_is_applied_in_its_order,
            deleting_what_is_not_there_is_no_error,
            every_page_of_a_large_table_is_visited,
            expired_bindings_are_deleted_and_permanent_ones_stay,
            a_location_table_of_any_name_is_made,
            many_submissions_at_once_are_all_written,
            a_full_queue_refuses_at_once,
        );
    };
}
#[cfg(test)]
pub(crate) use battery;

/// Runs every case, each on a store that `open` has made empty.
///
/// # Panics
/// When the store does something else than the others.
pub async fn run_all(open: impl AsyncFn() -> Store) {
    macro_rules! each {
        ($($case:ident),+ $(,)?) => {
            $({
                // On the heap: all cases in one future are more than a thread's stack.
                let store = Box::pin(open()).await;
                Box::pin($case(&store)).await;
                Box::pin(store.close()).await;
            })+
        };
    }
    each!(
        an_unknown_subscriber_is_none,
        a_subscriber_is_found_whatever_the_case_of_the_domain,
        a_subscriber_is_added_once,
        a_new_password_replaces_every_digest,
        a_removed_subscriber_leaves_nothing,
        the_oldest_of_a_name_answers_for_any_domain,
        subscribers_are_listed_in_pages,
        texts_that_look_like_sql_are_texts,
        an_alias_stands_for_its_targets_in_order,
        domains_are_kept_once,
        a_binding_comes_back_as_it_was_written,
        absent_values_stay_absent,
        a_put_replaces_the_row_of_the_same_ruid,
        changes_apply_in_the_order_of_submission,
        a_long_submission_is_applied_in_its_order,
        deleting_what_is_not_there_is_no_error,
        every_page_of_a_large_table_is_visited,
        expired_bindings_are_deleted_and_permanent_ones_stay,
        a_location_table_of_any_name_is_made,
        many_submissions_at_once_are_all_written,
        a_full_queue_refuses_at_once,
    );
}

/// A store of its own for one test, and whatever must live as long.
#[cfg(test)]
pub(crate) struct Fixture<G> {
    pub(crate) store: Store,
    pub(crate) _guard: G,
}

pub(crate) fn location() -> TableName {
    TableName::new("location").expect("a plain word")
}

/// A row with every column filled.
pub(crate) fn full_binding(ruid: &str) -> StoredBinding {
    StoredBinding {
        ruid: ruid.into(),
        username: "alice".into(),
        domain: Some("example.org".into()),
        contact: "sip:alice@192.0.2.7:5062;transport=tcp".into(),
        received: Some("sip:198.51.100.9:33000".into()),
        path: Some("<sip:edge.example.org;lr>".into()),
        expires: 1_900_000_001,
        q: 0.7,
        callid: "a84b4c76e66710@192.0.2.7".into(),
        cseq: 2_147_483_648,
        last_modified: 1_899_999_999,
        flags: 0x8000_0001,
        cflags: 0x40,
        user_agent: "Größe/1.0 'quoted'".into(),
        socket: Some("udp:192.0.2.1:5060".into()),
        methods: Some(7999),
        instance: Some("<urn:uuid:00000000-0000-1000-8000-000A95A0E128>".into()),
        reg_id: 1,
        server_id: 3,
        connection_id: -1,
        keepalive: true,
        partition: 5,
    }
}

pub(crate) fn put(binding: StoredBinding) -> Change {
    Change::Put(Box::new(binding))
}

pub(crate) async fn rows(store: &Store, table: &TableName) -> Vec<Result<StoredBinding, Error>> {
    let mut rows = Vec::new();
    store.all_bindings(table, |row| rows.push(row)).await.expect("readable");
    rows
}

fn writer(store: &Store) -> LocationWriter {
    let settings = WriterSettings::default();
    LocationWriter::start(store.clone(), location(), settings, &Handle::current())
}

async fn write(store: &Store, changes: Vec<Change>) {
    writer(store).submit(changes).await.expect("written");
}

pub(crate) async fn an_unknown_subscriber_is_none(store: &Store) {
    assert_eq!(store.credentials("alice", "example.org").await, Ok(None));
    assert_eq!(store.credentials_in_any_domain("alice").await, Ok(None));
}

pub(crate) async fn a_subscriber_is_found_whatever_the_case_of_the_domain(store: &Store) {
    store.add_subscriber("alice", "example.org", "wonderland").await.expect("added");
    let found = store.credentials("alice", "Example.ORG").await.expect("read").expect("found");
    assert_eq!((&*found.username, &*found.domain), ("alice", "example.org"));
    // md5 and sha256 of alice:example.org:wonderland; md5 of alice@example.org:example.org:wonderland.
    assert_eq!(found.ha1, "72f86f2053703faa0f521ce71cfe6f59");
    assert_eq!(found.ha1b, "f5d991d8b5ad4d9bcb5958f6cd125f8c");
    assert_eq!(found.ha1_sha256.as_deref(), Some("f0c3ae808cef897043f79de49549776f1f58cb7c5364e03ab40abac620459848"));
    assert_eq!(found.password, None);
    // User parts differ in case (RFC 3261 section 19.1.4).
    assert_eq!(store.credentials("Alice", "example.org").await, Ok(None));
}

pub(crate) async fn a_subscriber_is_added_once(store: &Store) {
    assert_eq!(store.add_subscriber("alice", "example.org", "first").await, Ok(true));
    assert_eq!(store.add_subscriber("alice", "EXAMPLE.org", "second").await, Ok(false));
    let first = crate::Ha1::new("alice", "example.org", "first").md5;
    assert_eq!(store.credentials("alice", "example.org").await.expect("read").expect("found").ha1, first);
}

pub(crate) async fn a_new_password_replaces_every_digest(store: &Store) {
    assert_eq!(store.set_password("alice", "example.org", "none yet").await, Ok(false));
    store.add_subscriber("alice", "example.org", "old").await.expect("added");
    assert_eq!(store.set_password("alice", "EXAMPLE.org", "wonderland").await, Ok(true));
    let found = store.credentials("alice", "example.org").await.expect("read").expect("found");
    assert_eq!(found.ha1, "72f86f2053703faa0f521ce71cfe6f59");
    assert_eq!(found.ha1b, "f5d991d8b5ad4d9bcb5958f6cd125f8c");
    assert_eq!(found.ha1_sha256.as_deref(), Some("f0c3ae808cef897043f79de49549776f1f58cb7c5364e03ab40abac620459848"));
}

pub(crate) async fn a_removed_subscriber_leaves_nothing(store: &Store) {
    store.add_subscriber("alice", "example.org", "old").await.expect("added");
    assert_eq!(store.remove_subscriber("alice", "Example.org").await, Ok(true));
    assert_eq!(store.remove_subscriber("alice", "example.org").await, Ok(false));
    assert_eq!(store.credentials("alice", "example.org").await, Ok(None));
    assert_eq!(store.add_subscriber("alice", "example.org", "new").await, Ok(true));
}

pub(crate) async fn the_oldest_of_a_name_answers_for_any_domain(store: &Store) {
    store.add_subscriber("alice", "b.example", "1").await.expect("added");
    store.add_subscriber("alice", "a.example", "2").await.expect("added");
    let found = store.credentials_in_any_domain("alice").await.expect("read").expect("found");
    assert_eq!(found.domain, "b.example");
}

pub(crate) async fn subscribers_are_listed_in_pages(store: &Store) {
    for name in ["carol", "alice", "bob"] {
        store.add_subscriber(name, "example.org", "x").await.expect("added");
    }
    let first = store.subscribers(0, 2).await.expect("read");
    let rest = store.subscribers(first[1].id, 2).await.expect("read");
    let names: Vec<_> = first.iter().chain(&rest).map(|account| &*account.username).collect();
    assert_eq!(names, ["carol", "alice", "bob"]);
}

pub(crate) async fn texts_that_look_like_sql_are_texts(store: &Store) {
    let name = "x'; DROP TABLE subscriber; --";
    assert_eq!(store.add_subscriber(name, "\"%_\\", "' OR 1=1").await, Ok(true));
    let found = store.credentials(name, "\"%_\\").await.expect("read").expect("found");
    assert_eq!(found.username, name);
    assert_eq!(store.credentials("%", "\"%_\\").await, Ok(None));
}

pub(crate) async fn an_alias_stands_for_its_targets_in_order(store: &Store) {
    let target = |username: &str| AliasTarget { username: username.into(), domain: "example.org".into() };
    assert_eq!(store.add_alias("sales", "example.org", &target("bob")).await, Ok(true));
    assert_eq!(store.add_alias("sales", "example.org", &target("alice")).await, Ok(true));
    assert_eq!(store.add_alias("sales", "Example.org", &target("bob")).await, Ok(false));
    assert_eq!(store.alias_targets("sales", "EXAMPLE.org").await, Ok(vec![target("bob"), target("alice")]));
    assert_eq!(store.remove_alias("sales", "example.org").await, Ok(2));
    assert_eq!(store.alias_targets("sales", "example.org").await, Ok(vec![]));
}

pub(crate) async fn domains_are_kept_once(store: &Store) {
    let plain = StoredDomain { domain: "example.org".into(), did: None };
    let shared = StoredDomain { domain: "example.net".into(), did: Some("example".into()) };
    assert_eq!(store.add_domain(&plain, 1_900_000_000).await, Ok(true));
    assert_eq!(store.add_domain(&shared, 1_900_000_000).await, Ok(true));
    let again = StoredDomain { domain: "EXAMPLE.org".into(), did: None };
    assert_eq!(store.add_domain(&again, 1_900_000_000).await, Ok(false));
    assert_eq!(store.domains().await, Ok(vec![plain, shared]));
    assert_eq!(store.remove_domain("Example.Net").await, Ok(true));
    assert_eq!(store.remove_domain("example.net").await, Ok(false));
}

pub(crate) async fn a_binding_comes_back_as_it_was_written(store: &Store) {
    write(store, vec![put(full_binding("r1"))]).await;
    assert_eq!(rows(store, &location()).await, [Ok(full_binding("r1"))]);
}

pub(crate) async fn absent_values_stay_absent(store: &Store) {
    let binding = StoredBinding {
        domain: None,
        received: None,
        path: None,
        socket: None,
        methods: None,
        instance: None,
        expires: 0,
        q: -1.0,
        cseq: 0,
        keepalive: false,
        ..full_binding("r1")
    };
    write(store, vec![put(binding.clone())]).await;
    assert_eq!(rows(store, &location()).await, [Ok(binding)]);
}

pub(crate) async fn a_put_replaces_the_row_of_the_same_ruid(store: &Store) {
    let refreshed = StoredBinding { expires: 1_900_000_060, cseq: 7, instance: None, ..full_binding("r1") };
    write(store, vec![put(full_binding("r1"))]).await;
    write(store, vec![put(refreshed.clone())]).await;
    assert_eq!(rows(store, &location()).await, [Ok(refreshed)]);
}

pub(crate) async fn changes_apply_in_the_order_of_submission(store: &Store) {
    let writer = writer(store);
    let delete = || Change::Delete { ruid: "r1".into() };
    let first = writer.submit(vec![put(full_binding("r1")), delete(), put(full_binding("r1"))]);
    let second = writer.submit(vec![delete()]);
    let third = writer.submit(vec![put(StoredBinding { cseq: 9, ..full_binding("r1") })]);
    third.await.expect("written");
    second.await.expect("written");
    first.await.expect("written");
    assert_eq!(rows(store, &location()).await, [Ok(StoredBinding { cseq: 9, ..full_binding("r1") })]);
}

pub(crate) async fn a_long_submission_is_applied_in_its_order(store: &Store) {
    // Two runs of 40 puts, a delete after each; every ruid is written eight times with rising CSeq numbers.
    let mut changes = Vec::new();
    for cseq in 0..40 {
        changes.push(put(StoredBinding { cseq, ..full_binding(&format!("r{}", cseq % 10)) }));
    }
    changes.push(Change::Delete { ruid: "r3".into() });
    for cseq in 40..80 {
        changes.push(put(StoredBinding { cseq, ..full_binding(&format!("r{}", cseq % 10)) }));
    }
    changes.push(Change::Delete { ruid: "r5".into() });
    write(store, changes).await;
    let mut found: Vec<_> = rows(store, &location()).await.into_iter().map(|row| row.expect("readable").cseq).collect();
    found.sort_unstable();
    assert_eq!(found, [70, 71, 72, 73, 74, 76, 77, 78, 79]);
}

pub(crate) async fn deleting_what_is_not_there_is_no_error(store: &Store) {
    write(store, vec![Change::Delete { ruid: "nobody".into() }]).await;
    write(store, vec![]).await;
}

pub(crate) async fn every_page_of_a_large_table_is_visited(store: &Store) {
    let changes = (0..2500).map(|n| put(full_binding(&format!("r{n}")))).collect();
    write(store, changes).await;
    let mut ruids = Vec::new();
    let count = store.all_bindings(&location(), |row| ruids.push(row.expect("readable").ruid)).await;
    assert_eq!(count, Ok(2500));
    let expected: Vec<_> = (0..2500).map(|n| format!("r{n}")).collect();
    assert_eq!(ruids, expected);
}

pub(crate) async fn expired_bindings_are_deleted_and_permanent_ones_stay(store: &Store) {
    let ending = |ruid: &str, expires| put(StoredBinding { expires, ..full_binding(ruid) });
    write(store, vec![ending("past", 999), ending("now", 1000), ending("later", 1001), ending("never", 0)]).await;
    assert_eq!(store.delete_expired(&location(), 1000).await, Ok(1));
    let left: Vec<_> = rows(store, &location()).await.into_iter().map(|row| row.expect("readable").ruid).collect();
    assert_eq!(left, ["now", "later", "never"]);
}

pub(crate) async fn a_location_table_of_any_name_is_made(store: &Store) {
    let table = TableName::new("mobile").expect("a plain word");
    store.ensure_location_table(&table).await.expect("made");
    store.ensure_location_table(&table).await.expect("there already");
    let writer = LocationWriter::start(store.clone(), table.clone(), WriterSettings::default(), &Handle::current());
    writer.submit(vec![put(full_binding("r1"))]).await.expect("written");
    assert_eq!(rows(store, &table).await, [Ok(full_binding("r1"))]);
    assert_eq!(rows(store, &location()).await, []);
    let other = TableName::new("domain").expect("a plain word");
    let refused = store.ensure_location_table(&other).await;
    assert_eq!(refused, Err(Error::SchemaVersion { table: "domain".into(), found: Some(2), needed: 9 }));
}

pub(crate) async fn many_submissions_at_once_are_all_written(store: &Store) {
    let writer = writer(store);
    let submissions: Vec<_> = (0..3000).map(|n| writer.submit(vec![put(full_binding(&format!("r{n}")))])).collect();
    for written in submissions {
        written.await.expect("written");
    }
    assert_eq!(rows(store, &location()).await.len(), 3000);
    assert_eq!(writer.queued(), 0);
}

pub(crate) async fn a_full_queue_refuses_at_once(store: &Store) {
    let settings = WriterSettings { queue: 2, ..WriterSettings::default() };
    let writer = LocationWriter::start(store.clone(), location(), settings, &Handle::current());
    // The test's runtime has one thread: the writing task has not run yet.
    let first = writer.submit(vec![put(full_binding("r1"))]);
    let second = writer.submit(vec![put(full_binding("r2"))]);
    let third = writer.submit(vec![put(full_binding("r3"))]);
    assert_eq!(third.await, Err(Error::Unavailable(crate::Cause::QueueFull)));
    first.await.expect("written");
    second.await.expect("written");
    assert_eq!(rows(store, &location()).await.len(), 2);
}
