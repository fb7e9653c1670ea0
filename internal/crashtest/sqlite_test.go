package crashtest

import (
	"fmt"
	"testing"
)

const plenty = 1_000_000_000

func TestAServerKilledUnderLoadLosesNoAcknowledgedChargeAndInventsNone(t *testing.T) {
	in := onSQLite(t, plenty, plenty, plenty, plenty, plenty)
	for round := range rounds(3, 10) {
		s := in.serve()
		l := in.load(s)
		l.more(int64(200 + 150*round))
		s.kill()
		l.stop()
		sum := in.balanced(fmt.Sprintf("round %d", round+1))
		if most := int64(callers * (round + 1)); sum.recorded-sum.acknowledged > most {
			t.Errorf("%d charges had no answer, with at most %d in flight", sum.recorded-sum.acknowledged, most)
		}
	}
	s := in.serve()
	in.load(s).more(callers)
}

func TestAServerAskedToEndUnderLoadAnswersWhatItChargesAndExitsWithZero(t *testing.T) {
	in := onSQLite(t, plenty, plenty, plenty)
	for round := range rounds(2, 6) {
		s := in.serve()
		l := in.load(s)
		l.more(300)
		if err := s.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
		l.stop()
		if sum := in.balanced(fmt.Sprintf("round %d", round+1)); sum.recorded != sum.acknowledged {
			t.Errorf("%d were charged and %d acknowledged", sum.recorded, sum.acknowledged)
		}
	}
}

func TestALimitedKeyIsGrantedToItsLastUseAcrossKilledServers(t *testing.T) {
	const uses = 900
	in := onSQLite(t, uses)
	for round := range 3 {
		s := in.serve()
		l := in.load(s)
		l.more(200)
		s.kill()
		l.stop()
		in.balanced(fmt.Sprintf("round %d", round+1))
	}
	s := in.serve()
	in.each(uses/callers+1, s)
	if sum := in.balanced("at the end"); sum.recorded != uses {
		t.Errorf("%d of %d uses were granted", sum.recorded, uses)
	}
}
