// Package sdkecho guards handlers of the echo framework with the sdk. It decides
// nothing: the answers are those of sdk.Require, byte for byte.
package sdkecho

import (
	"github.com/labstack/echo/v4"

	"github.com/cambio-auth/cambio/sdk"
)

// Require is sdk.Require as a middleware of echo. Refusals are answered here and
// never reach echo's error handler. It panics if resource or action is empty.
func Require(a sdk.Authenticator, resource, action string) echo.MiddlewareFunc {
	if a == nil || resource == "" || action == "" {
		panic("sdkecho: Require needs an Authenticator, a resource and an action")
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			token, err := sdk.Authorize(r.Context(), a, r.Header, resource, action)
			if err != nil {
				sdk.Refuse(c.Response(), a, err)
				return nil
			}
			c.SetRequest(r.WithContext(sdk.NewContext(r.Context(), token)))
			return next(c)
		}
	}
}

// Token returns the token that Require let through.
func Token(c echo.Context) (*sdk.Token, bool) { return sdk.FromContext(c.Request().Context()) }
