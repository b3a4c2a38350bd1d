//! The verbs that begin the documentation of a function.

/// Verbs in the third person. A verb of speech and one that only links two nouns ("is",
/// "has") are left out, as are those that the language rules replace: "gives", "learns",
/// "stands", "lies", "leaves".
const VERBS: &str = "
    accepts acknowledges acquires adapts adds adjusts admits adopts advances advertises aligns
    allocates allows announces answers appends applies approves arms asserts assigns attaches
    authenticates awaits
    balances begins binds blanks blocks boots borrows bounds breaks builds bumps
    caches calculates calls cancels captures casts changes charges checks chooses claims cleans
    clears clones closes collapses collects colours combines commits compacts compares compiles
    completes composes compresses computes concatenates confirms connects constructs consumes
    contains continues converts copies counts covers creates cuts
    deallocates debounces decides declares decodes decompresses decreases decrements decrypts
    deduplicates defaults defers defines delays delegates deletes delivers demotes denies
    deregisters derives describes deserialises deserializes destroys detaches detects determines
    disables disarms discards disconnects dispatches displays distinguishes divides downloads
    drains drops dumps duplicates
    edits elects emits empties enables encodes encrypts ends enforces enqueues ensures enters
    enumerates erases escapes establishes estimates evaluates evicts examines exchanges excludes
    executes exempts exits expands expects expires explains exports exposes extends extracts
    fails feeds fetches fills filters finalises finalizes finds finishes fits flattens flips
    flushes folds follows forbids forces forgets forks formats forwards frees freezes fsyncs
    gathers generates gets grants groups grows guards guesses
    halts handles hashes hides highlights
    identifies ignores imports increases increments indents indicates infers inherits initialises
    initializes inlines inserts inspects installs instantiates interprets intersects introduces
    invalidates inverts invokes isolates issues iterates
    joins judges jumps
    keeps kills
    labels launches lets lexes lifts limits links lints listens lists loads locates locks logs
    looks loops lowers
    maintains makes manages maps marks masks matches measures merges migrates mints mirrors mocks
    modifies monitors mounts moves mutates
    names negotiates normalises normalizes notes notifies
    observes obtains omits opens orders overrides overwrites owns
    packs pads pairs panics parks parses partitions passes patches pauses peeks percent-decodes
    percent-encodes performs permits persists picks pings pins places plans polls pops populates
    postpones posts predicts prefers prefixes prepares prepends presents preserves prevents prints
    probes proceeds processes produces prohibits promotes protects proves provides proxies prunes
    publishes pulls purges pushes puts
    queries queues quits quotes
    raises ranks re-creates re-exports re-reads reacts reads rebuilds receives recognises
    recognizes recomputes reconciles reconnects reconstructs records recovers recreates redacts
    redirects reduces refers refills reformats refreshes refuses regenerates registers rejects
    relays releases reloads relocates removes renames renders renews reopens reorders repairs
    repeats replaces replays replicates reports represents reproduces requests requires rereads
    reserves resets resolves responds restarts restores restricts resumes retains retries
    retrieves returns reuses reverses reverts reviews rewinds rewrites rolls rotates rounds routes
    runs
    samples sanitises satisfies saves scales scans schedules scrapes scrubs seals searches seeds
    seeks selects sends separates serialises serializes serves sets settles shares shifts shows
    shrinks shuffles shuts signals signs simulates skips sleeps slices solves sorts spawns
    specifies spells splits spreads stages starts stops stores streams strips submits substitutes
    subtracts succeeds suggests sums supplies supports suppresses suspends swallows swaps switches
    synchronises syncs
    tags takes targets terminates tests throttles throws tightens tracks trains transfers
    transforms translates traverses treats tries triggers trims truncates trusts turns types
    unblocks undoes unescapes uninstalls unlinks unlocks unmounts unpacks unregisters unsets
    untars unwraps updates upgrades uploads uses
    validates verifies visits
    waits wakes walks warns watches weighs widens withdraws wraps writes
    yields
    zeroes zips
";

/// Returns true if `word`, in small letters, is a verb of the list.
pub(super) fn is_verb(word: &str) -> bool {
    VERBS.split_whitespace().any(|verb| verb == word)
}

#[cfg(test)]
mod tests {
    use super::{VERBS, is_verb};

    #[test]
    fn verbs_are_listed_once_and_in_order() {
        assert!(VERBS.split_whitespace().is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn linking_verb_is_not_listed() {
        assert!(is_verb("returns") && is_verb("percent-encodes"));
        assert!(!is_verb("is") && !is_verb("says") && !is_verb("return"));
    }
}
