"""What `coffre doctor` asks a server: few queries, each about all objects together."""
