package remote

import "time"

// InTurn has the address of another family tried only when the first has failed, however slow this machine is.
func (o *Options) InTurn() { o.headStart = time.Hour }
