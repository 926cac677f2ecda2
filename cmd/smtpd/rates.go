package main

import (
	"context"
	"time"

	"github.com/posthouse-mail/posthouse/mta/config"
	"github.com/posthouse-mail/posthouse/mta/guard"
	"github.com/posthouse-mail/posthouse/mta/maillog"
)

// saveRatesEvery bounds what a crash makes us forget.
const saveRatesEvery = time.Minute

func rates(c config.SMTPRate) guard.RateLimits {
	return guard.RateLimits{
		MessagesPerClient: guard.Rate(c.MessagesPerClient), MessagesPerLogin: guard.Rate(c.MessagesPerLogin),
		RecipientsPerLogin: guard.Rate(c.RecipientsPerLogin),
	}
}

// keepRates writes down what the rate limits have counted, until ctx ends.
func keepRates(ctx context.Context, r *guard.Rates, path string, log *maillog.Log) error {
	t := time.NewTicker(saveRatesEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			saveRates(r, path, log)
		case <-ctx.Done():
			return nil
		}
	}
}

func saveRates(r *guard.Rates, path string, log *maillog.Log) {
	if err := r.Save(path); err != nil {
		log.StateFailed(path, err)
	}
}
