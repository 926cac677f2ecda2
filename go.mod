module github.com/posthouse-mail/posthouse

go 1.26.0
