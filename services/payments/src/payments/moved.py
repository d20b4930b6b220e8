"""SQL over `operations o`: which of them a gateway lists as its movements.

What a gateway captures at once in a session is one movement there, of the whole amount. It is compared and settled, and not the
capture of the order's authorization, which repeats it or a part of it.
"""

from typing import Final

KIND: Final = """
case when o.kind = 'prepay' and o.with_capture then 'capture' when o.kind = 'return' and o.with_capture then 'refund' else o.kind end"""
MOVES: Final = "(o.kind in ('capture', 'refund') or (o.kind in ('prepay', 'return') and o.with_capture))"
IS_PREPAID: Final = """
(o.kind = 'capture' and exists (select from payment_sessions s join operations p on p.operation_id = s.session_id
  where s.order_id = o.order_id and s.authorization_id = o.refers_to and p.with_capture))"""
