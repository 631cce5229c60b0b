-------------------------------- MODULE Key ---------------------------------
(* One idempotency key: a client repeats its request until it hears an       *)
(* answer; copies of the request travel, come late, and meet in the server;  *)
(* servers die at any step, and answers are lost.                            *)
(*                                                                           *)
(* IsAtomic is how Fieldsync does it: the key, the effects and the answer    *)
(* commit together (sync/push.py). Without it the answer is kept in a second *)
(* transaction, as middleware does it, and a server that dies in between     *)
(* leaves a key that nobody can use: KeyIsNeverStuck does not hold. Without  *)
(* IsUnique the key is looked up, then written, and AppliedOnce does not.    *)
EXTENDS Naturals, FiniteSets

CONSTANTS Servers, SendsMax, DeathsMax, IsAtomic, IsUnique
ASSUME {IsAtomic, IsUnique} \subseteq BOOLEAN

None == "none"

VARIABLES
    sends,      \* how often the client has sent it
    travelling, \* copies of the request that have not arrived
    state,      \* server -> what its thread is at
    key,        \* "free", "taken" (committed, without an answer), or "answered"
    holder,     \* the server whose open transaction has inserted the key, or None
    effects,    \* how often the push was carried out, and committed
    answers,    \* all that were ever sent back: whether they say "done" or "done before"
    heard,      \* whether the client has an answer
    deaths

vars == <<sends, travelling, state, key, holder, effects, answers, heard, deaths>>

Init ==
    /\ sends = 0 /\ travelling = 0 /\ key = "free" /\ holder = None
    /\ state = [s \in Servers |-> "idle"]
    /\ effects = 0 /\ answers = {} /\ heard = FALSE /\ deaths = 0

-----------------------------------------------------------------------------
Send ==             \* again, whenever it has heard nothing
    /\ ~heard /\ sends < SendsMax
    /\ sends' = sends + 1 /\ travelling' = travelling + 1
    /\ UNCHANGED <<state, key, holder, effects, answers, heard, deaths>>

Lose ==             \* but not the last one: the network heals
    /\ travelling > 0 /\ sends < SendsMax
    /\ travelling' = travelling - 1
    /\ UNCHANGED <<sends, state, key, holder, effects, answers, heard, deaths>>

Arrive(s) ==
    /\ travelling > 0 /\ state[s] = "idle"
    /\ travelling' = travelling - 1
    /\ state' = [state EXCEPT ![s] = "asking"]
    /\ UNCHANGED <<sends, key, holder, effects, answers, heard, deaths>>

Claim(s) ==         \* INSERT: a twin waits on the index until the first is over
    /\ state[s] = "asking" /\ key = "free"
    /\ IsUnique => holder = None
    /\ holder' = s
    /\ state' = [state EXCEPT ![s] = "working"]
    /\ UNCHANGED <<sends, travelling, key, effects, answers, heard, deaths>>

Commit(s) ==        \* the rows, the key, and, if it is atomic, the answer
    /\ state[s] = "working"
    /\ effects' = effects + 1
    /\ key' = IF IsAtomic THEN "answered" ELSE IF key = "free" THEN "taken" ELSE key
    /\ holder' = IF holder = s THEN None ELSE holder
    /\ state' = [state EXCEPT ![s] = IF IsAtomic THEN "telling" ELSE "keeping"]
    /\ UNCHANGED <<sends, travelling, answers, heard, deaths>>

Keep(s) ==
    /\ state[s] = "keeping"
    /\ key' = "answered"
    /\ state' = [state EXCEPT ![s] = "telling"]
    /\ UNCHANGED <<sends, travelling, holder, effects, answers, heard, deaths>>

Replay(s) ==
    /\ state[s] = "asking" /\ key = "answered"
    /\ state' = [state EXCEPT ![s] = "telling"]
    /\ UNCHANGED <<sends, travelling, key, holder, effects, answers, heard, deaths>>

Refuse(s) ==        \* 409: it is under way, try again
    /\ state[s] = "asking" /\ key = "taken"
    /\ state' = [state EXCEPT ![s] = "idle"]
    /\ UNCHANGED <<sends, travelling, key, holder, effects, answers, heard, deaths>>

Tell(s, arrives) ==
    /\ state[s] = "telling"
    /\ arrives \/ sends < SendsMax
    /\ state' = [state EXCEPT ![s] = "idle"]
    /\ answers' = answers \cup {effects}
    /\ heard' = (heard \/ arrives)
    /\ UNCHANGED <<sends, travelling, key, holder, effects, deaths>>

Die(s) ==           \* what was not committed is rolled back; the client will send again
    /\ state[s] # "idle" /\ deaths < DeathsMax /\ sends < SendsMax
    /\ deaths' = deaths + 1
    /\ state' = [state EXCEPT ![s] = "idle"]
    /\ holder' = IF holder = s THEN None ELSE holder
    /\ UNCHANGED <<sends, travelling, key, effects, answers, heard>>

Next == Send \/ Lose \/ \E s \in Servers :
    \/ Arrive(s) \/ Claim(s) \/ Commit(s) \/ Keep(s) \/ Replay(s) \/ Refuse(s) \/ Die(s)
    \/ \E arrives \in BOOLEAN : Tell(s, arrives)

Fairness == WF_vars(Send) /\ \A s \in Servers :
    WF_vars(Arrive(s)) /\ WF_vars(Claim(s) \/ Replay(s) \/ Refuse(s)) /\ WF_vars(Commit(s))
    /\ WF_vars(Keep(s)) /\ WF_vars(Tell(s, TRUE))

Spec == Init /\ [][Next]_vars /\ Fairness

-----------------------------------------------------------------------------
AppliedOnce == effects <= 1                                             \* W2
OneAnswer == Cardinality(answers) <= 1                                  \* W8
NothingAcknowledgedIsLost == heard => effects = 1                       \* W1
ClientIsAnswered == <>heard                                             \* W9
KeyIsNeverStuck == key = "taken" => \E s \in Servers : state[s] = "keeping"
=============================================================================
