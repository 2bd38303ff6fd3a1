package divisipb

// Pages are the messages that say what t says, none with much more than so many bytes of
// receipts: a sink may have more parts than fit into one. The first one has everything
// else. They are to be sent in their order, and put together by a Launches.
func (t *TaskSpec) Pages(receiptBytes int) []*TaskSpec {
	rest := t.Receipts
	take := func() [][]byte {
		n, bytes := 0, 0
		for n < len(rest) && (n == 0 || bytes+len(rest[n]) <= receiptBytes) {
			bytes += len(rest[n]) + 4
			n++
		}
		page := rest[:n:n]
		rest = rest[n:]
		return page
	}
	t.Receipts = take()
	all := []*TaskSpec{t}
	for len(rest) > 0 {
		all[len(all)-1].More = true
		all = append(all, &TaskSpec{Id: t.Id, Kind: t.Kind, Receipts: take()})
	}
	return all
}

// Launches puts pages together, those of one connection: what has come over one that
// broke is sent again as a whole. One goroutine uses it.
type Launches struct{ begun map[attempt]*TaskSpec }

type attempt struct {
	job                   string
	stage, index, attempt int32
}

// Add takes a page in. It returns the whole with the last one, before that nil.
func (l *Launches) Add(page *TaskSpec) *TaskSpec {
	id := attempt{page.GetId().GetJob(), page.GetId().GetStage(), page.GetId().GetIndex(), page.GetId().GetAttempt()}
	whole := l.begun[id]
	if whole == nil {
		whole = page
	} else {
		whole.Receipts = append(whole.Receipts, page.Receipts...)
		whole.More = page.More
	}
	if !whole.More {
		delete(l.begun, id)
		return whole
	}
	if l.begun == nil {
		l.begun = map[attempt]*TaskSpec{}
	}
	l.begun[id] = whole
	return nil
}
