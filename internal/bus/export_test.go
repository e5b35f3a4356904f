package bus

import "time"

// SetPatience says how long the bus may be silent before c gives up what it asked.
func SetPatience(c *Client, d time.Duration) { c.stall, c.silence = d, d }

// Waiting returns how many publications wait for another.
func Waiting(c *Client) int {
	c.outbox.mu.Lock()
	defer c.outbox.mu.Unlock()
	return len(c.outbox.waiting)
}
