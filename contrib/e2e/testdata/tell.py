"""A milter over Sendmail's libmilter that tells what it is told, in X-Told, and does what the message's X-Do wants."""
import sys
import Milter


class Tell(Milter.Base):
    def connect(self, name, family, address):
        self.told = ["%s %s" % (name, address[0]), "j=%s" % self.getsymval("j"), "tls=%s" % self.getsymval("{tls_version}")]
        return Milter.CONTINUE

    def hello(self, name):
        self.told.append("helo %s" % name)
        return Milter.CONTINUE

    def envfrom(self, sender, *parameters):
        self.told += ["mail %s %s" % (sender, " ".join(sorted(parameters))), "login=%s" % self.getsymval("{auth_authen}")]
        self.do, self.size, self.fields, self.picky = "", 0, 0, sender.startswith("<picky@")
        return Milter.CONTINUE

    def envrcpt(self, recipient, *parameters):
        self.told.append("rcpt %s" % recipient)
        if self.picky and recipient.startswith("<bob@"):
            self.setreply("550", "5.1.1", "Not Bob")
            return Milter.REJECT
        return Milter.CONTINUE

    def data(self):
        return Milter.CONTINUE

    @Milter.noreply
    def header(self, name, value):
        self.fields += 1
        if name == "X-Do":
            self.do = value
        return Milter.CONTINUE

    def eoh(self):
        return Milter.CONTINUE

    @Milter.noreply
    def body(self, chunk):
        self.size += len(chunk)
        return Milter.CONTINUE

    def eom(self):
        self.progress()
        self.told += ["fields %d" % self.fields, "body %d" % self.size, "id=%s" % bool(self.getsymval("i"))]
        if self.do == "edit":
            self.addheader("X-Told", "; ".join(self.told).replace("; rcpt", ";\n\trcpt"))
            self.addheader("X-First", "first", 0)
            self.chgheader("Subject", 1, "changed")
            self.chgheader("X-Old", 2, "")
            self.replacebody("a new body\r\n" * 20000)
            self.delrcpt("<alice@here.test>")
            self.addrcpt("<bob@here.test>")
            self.chgfrom("<changed@here.test>")
        elif self.do == "reply":
            self.setreply("451", "4.7.1", "one", "two")
            return Milter.TEMPFAIL
        elif self.do == "quarantine":
            self.quarantine("odd")
        elif self.do:
            return {"reject": Milter.REJECT, "discard": Milter.DISCARD}[self.do]
        return Milter.ACCEPT


Milter.factory = Tell
Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.DELRCPT | Milter.CHGFROM | Milter.QUARANTINE)
Milter.runmilter("tell", sys.argv[1], 60)
