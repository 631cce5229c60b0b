-------------------------------- MODULE Feed --------------------------------
(* One tenant's feed: writers commit changes out of order, readers poll.     *)
(*                                                                           *)
(* A change gets its number when its transaction is nearly over. HasLock is  *)
(* how Fieldsync does it: the head is counted up under a row lock, held to   *)
(* COMMIT (sync/changelog.py `append`). Without it, numbers come from a      *)
(* sequence, as tutorials do it, and NothingIsSkipped does not hold: a       *)
(* reader passes a number that is given and not committed yet.               *)
(*                                                                           *)
(* The log keeps only the newest change of a row, and a page is read in a    *)
(* second look: what has moved beyond the head since is left to the next.    *)
EXTENDS Integers, FiniteSets

CONSTANTS Writers, Readers, Rows, VersionMax, HasLock
ASSUME HasLock \in BOOLEAN /\ VersionMax \in Nat

None == "none"
NotReading == -1

VARIABLES
    head,       \* the newest committed number, as a reader's first look sees it
    given,      \* the newest number given out; a sequence's is never taken back
    log,        \* row -> its newest committed change
    holder,     \* the writer that holds the stream's lock, or None
    writing,    \* writer -> the row whose lock it holds, or None
    number,     \* writer -> the number of its change, 0 before it has one
    cursor,     \* reader -> what it has read up to
    bound,      \* reader -> the head of its first look, or NotReading
    seen        \* reader -> row -> the newest version that it was told

vars == <<head, given, log, holder, writing, number, cursor, bound, seen>>

Nothing == [seq |-> 0, version |-> 0]

Init ==
    /\ head = 0 /\ given = 0 /\ holder = None
    /\ log = [r \in Rows |-> Nothing]
    /\ writing = [w \in Writers |-> None] /\ number = [w \in Writers |-> 0]
    /\ cursor = [d \in Readers |-> 0] /\ bound = [d \in Readers |-> NotReading]
    /\ seen = [d \in Readers |-> [r \in Rows |-> 0]]

-----------------------------------------------------------------------------
(* A push *)

Lock(w, r) ==       \* the row's own lock: one transaction at a time has it
    /\ writing[w] = None /\ log[r].version < VersionMax
    /\ \A other \in Writers : writing[other] # r
    /\ writing' = [writing EXCEPT ![w] = r]
    /\ UNCHANGED <<head, given, log, holder, number, cursor, bound, seen>>

Count(w) ==         \* the last statement before COMMIT
    /\ writing[w] # None /\ number[w] = 0
    /\ HasLock => holder = None
    /\ holder' = IF HasLock THEN w ELSE holder
    /\ given' = given + 1
    /\ number' = [number EXCEPT ![w] = given + 1]
    /\ UNCHANGED <<head, log, writing, cursor, bound, seen>>

Over(w) ==
    /\ holder' = IF holder = w THEN None ELSE holder
    /\ writing' = [writing EXCEPT ![w] = None]
    /\ number' = [number EXCEPT ![w] = 0]

Commit(w) ==
    /\ number[w] # 0
    /\ log' = [log EXCEPT ![writing[w]] =
                 [seq |-> number[w], version |-> log[writing[w]].version + 1]]
    /\ head' = IF number[w] > head THEN number[w] ELSE head
    /\ Over(w)
    /\ UNCHANGED <<given, cursor, bound, seen>>

Die(w) ==           \* at any moment: all of it is rolled back, but a sequence is not
    /\ writing[w] # None
    /\ Over(w)
    /\ given' = IF HasLock /\ number[w] # 0 THEN given - 1 ELSE given
    /\ UNCHANGED <<head, log, cursor, bound, seen>>

-----------------------------------------------------------------------------
(* A pull *)

Look(d) ==
    /\ bound[d] = NotReading
    /\ bound' = [bound EXCEPT ![d] = head]
    /\ UNCHANGED <<head, given, log, holder, writing, number, cursor, seen>>

Read(d) ==          \* the page: what the log has now, above the cursor and up to that head
    /\ bound[d] # NotReading
    /\ seen' = [seen EXCEPT ![d] = [r \in Rows |->
                  IF cursor[d] < log[r].seq /\ log[r].seq <= bound[d]
                  THEN log[r].version ELSE seen[d][r]]]
    /\ cursor' = [cursor EXCEPT ![d] = bound[d]]
    /\ bound' = [bound EXCEPT ![d] = NotReading]
    /\ UNCHANGED <<head, given, log, holder, writing, number>>

Next ==
    \/ \E w \in Writers : Count(w) \/ Commit(w) \/ Die(w) \/ \E r \in Rows : Lock(w, r)
    \/ \E d \in Readers : Look(d) \/ Read(d)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
NothingIsSkipped ==     \* W4
    \A d \in Readers, r \in Rows :
        log[r].seq <= cursor[d] => seen[d][r] = log[r].version

NumbersAreUnique ==
    \A r, other \in Rows : r # other /\ log[r].seq # 0 => log[r].seq # log[other].seq

HeadHasNoHole ==        \* every number up to the head is committed, or was replaced
    HasLock => given = head + Cardinality({w \in Writers : number[w] # 0})
=============================================================================
