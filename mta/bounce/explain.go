package bounce

import (
	"strings"

	"github.com/posthouse-mail/posthouse/mta"
)

// reason is why something happened, in words that go on "because ...", and what its reader can do.
type reason struct{ why, do string }

const (
	askThem    = "If the address is right, the recipient or the postmaster of %D can help, in another way than by this address."
	askYours   = "Please show this report to the postmaster of your own domain."
	checkIt    = "Please check the address, letter by letter, and send the message again if you find a mistake."
	smaller    = "Please send less at once, or put the large part where the recipient can fetch it."
	askRoom    = "Please tell the recipient in another way, and send the message again later."
	nothing    = "You need not do anything."
	rulesDo    = "The words below may say which rule it was; the postmaster of %D can help with it."
	theirFault = "Please try again later; if it stays so, the postmaster of %D should know."
)

// explain says in a person's words what an outcome means, by its enhanced status code (RFC 3463 and the registry of its
// codes), or by the reply code where it has none.
func explain(o mta.Outcome) reason {
	_, rest, _ := strings.Cut(o.Enhanced, ".")
	subject, _, _ := strings.Cut(rest, ".")
	switch subject {
	case "1":
		return explainAddress(rest)
	case "2":
		return explainMailbox(rest)
	case "3", "5":
		return explainSystem(rest)
	case "4":
		return explainNetwork(rest)
	case "6":
		return explainContent(rest)
	case "7":
		return explainPolicy(rest)
	}
	switch o.Code {
	case 550, 551, 553:
		return reason{"the mail server of %D refuses the address or the message", checkIt + " " + askThem}
	case 552:
		return reason{"the mailbox is full, or the message is too large for it", askRoom}
	}
	return reason{"the mail server of %D did not accept it", askThem}
}

func explainAddress(code string) reason {
	switch code {
	case "1.1", "1.0", "1.4":
		return reason{"there is no mailbox of that name at %D", checkIt + " " + askThem}
	case "1.2", "1.8":
		return reason{"there is no domain %D that takes mail", checkIt}
	case "1.10":
		return reason{"the domain %D takes no mail at all", checkIt}
	case "1.3", "1.7":
		return reason{"the address is not one that the mail server understands", checkIt}
	case "1.6":
		return reason{"the mailbox has moved", "Please ask the recipient for the new address."}
	}
	return reason{"the mail server of %D does not take mail for this address", checkIt + " " + askThem}
}

func explainMailbox(code string) reason {
	switch code {
	case "2.1":
		return reason{"the mailbox is switched off", "Please ask the recipient in another way."}
	case "2.2":
		return reason{"the mailbox is full", askRoom}
	case "2.3":
		return reason{"the message is too large for the mailbox", smaller}
	}
	return reason{"the mailbox cannot take it", askThem}
}

func explainSystem(code string) reason {
	switch code {
	case "3.4":
		return reason{"the message is too large for the mail server", smaller}
	case "5.3":
		return reason{"the mail server took no more recipients", "Please send the message again to those who did not get it."}
	case "3.5":
		return reason{"this mail system finds itself responsible for %D and is not set up for it", "Its postmaster has to mend that."}
	}
	return reason{"the mail server of %D has a fault, or no room", theirFault}
}

func explainNetwork(code string) reason {
	switch code {
	case "4.1", "4.2", "4.0":
		return reason{"the mail server of %D could not be reached", theirFault}
	case "4.3":
		return reason{"the name service does not tell where mail for %D goes", theirFault}
	case "4.4":
		return reason{"there is no mail server for %D", checkIt}
	case "4.6":
		return reason{"the message went in circles", "The address may be forwarded to itself: " + askThem}
	case "4.7":
		return reason{"its time was over before it could be delivered", theirFault}
	}
	return reason{"the way to the mail server of %D is blocked or crowded", theirFault}
}

func explainContent(code string) reason {
	switch code {
	case "6.7", "6.8", "6.9", "6.10":
		return reason{"the mail server of %D does not take addresses beyond plain letters (SMTPUTF8)", "Please use another address, if there is one."}
	}
	return reason{"the mail server of %D does not take a message of this form", "Please send it as plain text, or with other attachments."}
}

func explainPolicy(code string) reason {
	switch code {
	case "7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26", "7.27", "7.29":
		return reason{"the mail server of %D could not make sure that it comes from your domain", askYours}
	case "7.28":
		return reason{"the mail server of %D got too many messages", theirFault}
	case "7.30", "7.10":
		return reason{"it was to be sent encrypted only, and the mail server of %D does not offer that", "Please send it again without that wish, or ask " +
			"the postmaster of %D."}
	case "7.4", "7.5", "7.8", "7.9":
		return reason{"a safe connection to the mail server of %D could not be made", askYours}
	case "7.13":
		return reason{"the recipient's mailbox is switched off", "Please ask the recipient in another way."}
	}
	return reason{"the mail server of %D refuses it by its rules", rulesDo}
}

// at puts the recipient's domain into a reason.
func (r reason) at(a mta.Address) reason {
	f := strings.NewReplacer("%D", a.Domain)
	return reason{f.Replace(r.why), f.Replace(r.do)}
}
