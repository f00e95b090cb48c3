"""Batch jobs of the gateway: prompts that a provider may answer within a day, at the price of a batch.

    folder      what is on the disk of a job, and what its journal says
    pricing     what each item can cost at most, and how what came back is booked
    calls       the provider's batch API over HTTP
    work        one job from its prompts to its last result
    desk        all jobs of one gateway

The order of one job, each step durable before the next begins, so that a kill anywhere is found again:

    planned     every item's bound, hold and part are written down; from here on prices are not looked up again
    held        the ledger holds each item that fits, under an owner that no process's end ends (`batch-ID`)
    posting     it is written down that the POST may have been sent from now on
    posted      the provider's name of the batch is written down
    ended       the provider says that it is over
    settled     each item is booked by its own result
    over        nothing is held any more

A part whose POST began and whose name is not known is *searched* in the provider's list before anything is sent again.
"""
