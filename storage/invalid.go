package storage

// Invalid marks err as ErrInvalid and leaves its text as it is; nil stays nil.
func Invalid(err error) error {
	if err == nil {
		return nil
	}
	return invalid{err}
}

type invalid struct{ error }

func (e invalid) Unwrap() []error { return []error{e.error, ErrInvalid} }
