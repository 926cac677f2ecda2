package maillog

// journalNames gives each field's key its name in the journal (systemd.journal-fields(7): capitals, digits, underscore).
// A key that is not here has no name in the journal, and a test refuses an event that uses it.
var journalNames = map[string]string{
	"event":     "POSTHOUSE_EVENT",
	"id":        "QUEUE_ID",
	"session":   "SESSION_ID",
	"from":      "FROM",
	"to":        "TO",
	"reply":     "REPLY",
	"client":    "CLIENT",
	"name":      "CLIENT_NAME",
	"login":     "LOGIN",
	"helo":      "HELO",
	"err":       "ERROR",
	"path":      "PATH_NAME",
	"users":     "USERS",
	"expires":   "EXPIRES",
	"listener":  "LISTENER",
	"rcpts":     "RCPT_COUNT",
	"size":      "SIZE",
	"proto":     "PROTO",
	"tls":       "TLS",
	"stage":     "STAGE",
	"mech":      "MECH",
	"reason":    "REASON",
	"program":   "PROGRAM",
	"version":   "VERSION",
	"config":    "CONFIG",
	"address":   "ADDRESS",
	"activated": "ACTIVATED_BY",
	"signal":    "SIGNAL",
	"where":     "CONFIG_PLACE",
	"key":       "CONFIG_KEY",
	"text":      "TEXT",
	"messages":  "MESSAGES",
	"octets":    "OCTETS",
	"fetched":   "FETCHED",
	"deleted":   "DELETED",
	"file":      "FILE_NAME",
	"by":        "BY",
	"delay":     "DELAY",
	"next":      "NEXT_TRY",
	"tries":     "TRIES",
	"members":   "MEMBERS",
	"forwarded": "FORWARDED",
	"child":     "CHILD_ID",
	"parent":    "PARENT_ID",
	"op":        "OPERATION",
	"running":   "RUNNING",
	"mailbox":   "MAILBOX",
	"removed":   "REMOVED",
	"saved":     "SAVED_AS",
	"offset":    "OFFSET",
	"length":    "LENGTH",
	"deferred":  "DEFERRED",
	"segments":  "SEGMENTS",
	"journal":   "JOURNAL_RECORDS",
	"filter":    "FILTER",
	"verdict":   "VERDICT",
	"domain":    "DOMAIN",
	"policy-id": "POLICY_ID",
	"mode":      "POLICY_MODE",
	"max-age":   "MAX_AGE",
	"was":       "WAS",
	"now":       "NOW",
	"failed":    "FAILED_COUNT",
	"delayed":   "DELAYED_COUNT",
	"succeeded": "SUCCEEDED_COUNT",
	"until":     "HELD_UNTIL",
	"report-id": "REPORT_ID",
	"good":      "GOOD_SESSIONS",
	"site":      "SITE",
	"waiting":   "WAITING",
	"bad":       "BAD_SESSIONS",
}

// JournalKeys gives the names in the journal their keys: the inverse of what NewJournal does.
func JournalKeys() map[string]string {
	keys := make(map[string]string, len(journalNames))
	for key, name := range journalNames {
		keys[name] = key
	}
	return keys
}

// JournalName is the name in the journal of a field's key.
func JournalName(key string) string { return journalNames[key] }
