package httpaudit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/firetrail/firetrail"
	"github.com/firetrail/firetrail/httpaudit"
)

// Every event fired in a request knows where the request came from and, further in, who it is.
func Example() {
	proxies, err := httpaudit.ParsePrefixes("10.0.0.0/8", "fd00::/8")
	if err != nil {
		panic(err)
	}
	audit, err := httpaudit.New(httpaudit.Config{TrustedProxies: proxies})
	if err != nil {
		panic(err)
	}

	// handle is where a service would say
	//	producer.Fire(r.Context(), CourseCreated.Event(...))
	handle := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c, _ := firetrail.FromContext(r.Context())
		fmt.Println("ip:    ", c.Request.IP)
		fmt.Println("id:    ", c.Request.ID)
		fmt.Println("actor: ", c.Actor.Type, c.Actor.ID)
		fmt.Println("tenant:", c.Tenant)
	})
	authenticate := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = httpaudit.WithActor(r, firetrail.Actor{Type: "user", ID: "ada"})
			next.ServeHTTP(w, httpaudit.WithTenant(r, "acme"))
		})
	}
	server := audit(authenticate(handle))

	r := httptest.NewRequest(http.MethodPost, "/courses", nil)
	r.RemoteAddr = "10.0.0.1:43210"                       // our proxy, which has added the last address;
	r.Header.Set("X-Forwarded-For", "6.6.6.6, 192.0.2.7") // the first is a forgery
	r.Header.Set("X-Request-Id", "7f3c9a")
	server.ServeHTTP(httptest.NewRecorder(), r)
	// Output:
	// ip:     192.0.2.7
	// id:     7f3c9a
	// actor:  user ada
	// tenant: acme
}
