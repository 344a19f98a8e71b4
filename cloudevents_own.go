package firetrail

// own reads an event laid out as [Event.AppendCloudEvent] lays it out, which is nearly every one, at a third of the
// cost: the names are compared where they must stand instead of being read and looked up. It reports
// false for anything else (another order, white space, members it has no field for), and
// the decoder must begin anew then. It decides nothing about what the texts mean: that is finish's.
func (d *decoder) own() bool {
	if !d.next(`{"specversion":"1.0","id":`) || !d.ownAttribute(attrID) ||
		!d.next(`,"source":`) || !d.ownAttribute(attrSource) ||
		!d.next(`,"type":`) || !d.ownAttribute(attrType) ||
		!d.next(`,"time":`) || !d.ownAttribute(attrTime) ||
		d.next(`,"subject":`) && !d.ownAttribute(attrSubject) ||
		!d.next(`,"datacontenttype":"application/json"`) ||
		d.next(`,"tenantid":`) && !d.ownAttribute(attrTenant) ||
		d.next(`,"sequence":`) && !d.ownAttribute(attrSequence) ||
		d.next(`,"recordedtime":`) && !d.ownAttribute(attrRecorded) ||
		d.next(`,"traceparent":`) && !d.ownAttribute(attrTraceparent) {
		return false
	}
	d.attrs[attrSpecVersion], d.attrs[attrDataContentType] = "1.0", "application/json"
	d.seen |= 1<<attrSpecVersion | 1<<attrDataContentType
	return d.next(`,"data":{`) && d.ownData() && d.next("}}") && d.i == len(d.b)
}

// next reads s, if that is what comes next.
func (d *decoder) next(s string) bool {
	if end := d.i + len(s); end <= len(d.b) && string(d.b[d.i:end]) == s {
		d.i = end
		return true
	}
	return false
}

func (d *decoder) ownAttribute(k int) bool {
	d.seen |= 1 << k
	return d.ownText(&d.attrs[k])
}

// ownText reads a string.
func (d *decoder) ownText(to *string) bool {
	if !d.byteIs('"') {
		return false
	}
	t, err := d.readText()
	if err != nil {
		return false
	}
	*to = d.str(t)
	return true
}

func (d *decoder) ownData() bool {
	e := d.e
	if d.next(`"actor":{`) {
		if !d.ownObject(`"type":`, &e.Actor.Type, `"id":`, &e.Actor.ID, `"name":`, &e.Actor.Name) || !d.next(`},`) {
			return false
		}
	}
	if d.next(`"entity":{`) {
		if !d.ownObject(`"type":`, &e.Entity.Type, `"id":`, &e.Entity.ID, "", nil) || !d.next(`},`) {
			return false
		}
	}
	switch {
	case d.next(`"outcome":"success"`):
	case d.next(`"outcome":"failure"`):
		e.Outcome = Failure
	case d.next(`"outcome":"denied"`):
		e.Outcome = Denied
	default:
		return false
	}
	if d.next(`,"old":`) && !d.ownValue(&e.Old) ||
		d.next(`,"new":`) && !d.ownValue(&e.New) ||
		d.next(`,"metadata":`) && !d.ownValue(&e.Metadata) {
		return false
	}
	r := &e.Request
	return !d.next(`,"request":{`) ||
		d.ownObject(`"ip":`, &r.IP, `"user_agent":`, &r.UserAgent, `"id":`, &r.ID) && d.next(`}`)
}

// ownObject reads those of up to three members, in this order, that are there.
func (d *decoder) ownObject(name1 string, to1 *string, name2 string, to2 *string, name3 string, to3 *string) bool {
	more := true // a member may begin here
	if d.next(name1) {
		if !d.ownText(to1) {
			return false
		}
		more = d.next(",")
	}
	if more && d.next(name2) {
		if !d.ownText(to2) {
			return false
		}
		more = d.next(",")
	}
	if more && to3 != nil && d.next(name3) {
		if !d.ownText(to3) {
			return false
		}
		more = false
	}
	return !more // a comma without a member behind it, an unknown member, or no member at all
}

func (d *decoder) ownValue(v *Value) bool {
	end := compactValue(d.b, d.i)
	if end < 0 {
		return false
	}
	v.raw = d.b[d.i:end:end]
	d.i = end
	return true
}
