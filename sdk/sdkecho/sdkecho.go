// Package sdkecho guards handlers of the echo framework with the sdk. It decides
// nothing: the answers are those of sdk.Require, byte for byte.
package sdkecho

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/sdk"
)

// Require is sdk.Require as a middleware of echo. Refusals are answered here and
// never reach echo's error handler. It panics if resource or action is empty.
func Require(a sdk.Authenticator, resource, action string) echo.MiddlewareFunc {
	guard := sdk.Require(a, resource, action)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			allowed := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				c.SetRequest(r)
				err = next(c)
			})
			guard(allowed).ServeHTTP(c.Response(), c.Request())
			return err
		}
	}
}

// Token returns the token that Require let through.
func Token(c echo.Context) (*sdk.Token, bool) { return sdk.FromContext(c.Request().Context()) }
