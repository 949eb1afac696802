"""Are all targets safe?"""
